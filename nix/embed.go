// Package nix carries the NixOS configuration of this repository inside the
// compiled program, so that init can write it into a repository that has none.
//
// The tree that is deployed is this folder without its Go files, plus
// secrets/secrets.yaml and .sops.yaml at its root.
package nix

import "embed"

// Files holds flake.nix, flake.lock, modules/, home-manager/ and examples/, with paths
// relative to this folder.
//
//go:embed flake.nix flake.lock modules home-manager examples
var Files embed.FS
