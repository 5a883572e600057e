// Package facts knows what a host is: which system, SSH ports, disks, keys and
// secrets its configuration gives it ([Host]). Nix decides all of that, so Nix is
// asked: by evaluating the flake, or, for a system that is built already, by
// reading the /etc/vps/facts.json that the same function wrote into it. No Go
// code reads Nix files.
//
// flake.lock is JSON and is read here as data ([ReadLock]).
package facts

import _ "embed" // for facts.nix

// factsNix is nix/modules/facts.nix: the function from a host's configuration to
// its facts, in the form of a NixOS module.
//
//go:embed facts.nix
var factsNix string
