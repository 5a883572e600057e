package mage_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

var escapes = regexp.MustCompile(`\x1b(?:\[[0-9;?>=]*[A-Za-z]|[=>(][B0]?|\][^\x07]*\x07)`)

// The test's program answers a shell, too.
func TestMain(m *testing.M) {
	if sources := os.Getenv("VPS_TEST_COMPLETE"); sources != "" {
		for _, c := range candidates(sources, os.Args[2:]) {
			fmt.Printf("%s\t%s\n", c.Word, c.Doc)
		}
		return
	}
	os.Exit(m.Run())
}
