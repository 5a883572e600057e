// Package e2e is the world that the end-to-end tests act in: servers that are
// real systemd, real OpenSSH and real Nix in a container, with a toy NixOS whose
// systems are really built and really switched to.
//
// A test starts with
//
//	server := e2e.Start(t)
//
// and has a server of its own within two seconds, reachable by SSH at
// [Server.Address] with the key in [Server.KeyFile]. [OnDisk] gives the server
// a disk of its own whose power can be cut with [Server.CutPower].
//
// The image is built by testdata/e2e/image/build when it is not there yet,
// which needs root, Docker and debootstrap and takes a minute. What the toy does
// is decided by settings.json in its flake, see testdata/e2e/flake.
//
// These tests run only when VPS_E2E=1 is set, and skip otherwise; once it is
// set, a part that is missing fails them.
package e2e
