// Package nix carries the NixOS configuration of this repository inside the
// compiled program, so that init can write it into a repository that has none.
//
// The tree that is deployed is this folder without this file, plus
// secrets/secrets.yaml and .sops.yaml at its root.
package nix

import "embed"

// Files holds flake.nix, flake.lock, modules/, home-manager/ and examples/, with paths
// relative to this folder, and this file.
//
// The targets must build whatever an owner does with the folder, and a pattern that
// matches nothing is an error: so all names are in one, which this file matches,
// too. It is not *, because a link (result, of a build) or a Go module (a program
// that the flake packages) cannot be embedded.
//
//go:embed [efhm][lmox][abdm]*
var Files embed.FS
