// Package tree collects the files of a project that are deployed to a server,
// lists them canonically and tells two such lists apart.
//
// # What is in a tree
//
// nix/ becomes the root, so nix/flake.nix is flake.nix on the server; Go files
// (*.go) stay behind. secrets/secrets.yaml and .sops.yaml keep their places.
// What git ignores is left out, what is merely untracked is not, and a file
// that is deleted in the work tree is gone even if git still has it. Without
// git, or outside a repository, all of nix/ is taken and [Tree.Warnings] says
// so.
//
// A tree holds regular files, their executable bit, and symbolic links that
// stay inside the tree. Everything else is an error, and so is what must never
// reach a server: a secrets file that is not encrypted, an age identity, a
// private key.
//
// # The manifest
//
// One line per file or link, sorted by the bytes of the path; folders are not
// listed, so an empty folder does not count:
//
//	f <hex SHA-256 of the content> <path>
//	x <hex SHA-256 of the content> <path>        executable by its owner
//	l <hex SHA-256 of the link's target> <path>
//
// A server makes the same bytes with find, sha256sum, readlink and
// "LC_ALL=C sort -t ' ' -k 3"; the hash of those bytes is the digest. Paths are
// UTF-8 without control characters and without backslashes, which sha256sum
// would escape.
package tree
