// Package fresh is the world of the bootstrap tests: servers that somebody just
// rented, and an image that plays nixos/nix.
//
// A test starts with
//
//	server := fresh.Start(t)
//	image := fresh.NixImage(t)
//
// The server is a Debian with sshd on port 22 that [Server.KeyFile] opens, for
// root and for admin, who has sudo. It can be installed: its image knows what
// kexec, disko, nixos-install and a reboot do to it, and after them it is the
// toy NixOS of package e2e, on port 2222. [WithKnob] puts faults in its way.
//
// The installer that does this is a stand-in for nixos-anywhere, in the toy
// nixpkgs of testdata/installer; everything that it uses is real: Nix, OpenSSH,
// tar. Like the tests of package e2e, these need VPS_E2E=1. With
// VPS_E2E_ENGINE=podman too, the installer's containers are Podman's.
package fresh
