package mage

// Declarations is for the tests of other packages.
var Declarations = declarations
