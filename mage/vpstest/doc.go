// Package vpstest is a NixOS server in a temporary folder, for tests: an SSH and
// SFTP server inside the test's own process, in front of a folder that looks
// like the file system of one of our hosts.
//
//	func TestMyTarget(t *testing.T) {
//		server := vpstest.Start(t)
//		// server.Addr(), server.ClientKeyFile() and server.HostKeyLine() are
//		// what a client needs; server.CurrentSystem(), server.Files() and the
//		// others tell afterwards what became of the server.
//	}
//
// # What is real and what is not
//
// Commands that log in are run by /bin/sh with VPS_ROOT set to the server's
// folder, and with nothing in PATH but the server's own programs. The scripts of
// package nixos run there as they are, byte for byte: the supervisor, its lock,
// its watchdog, its renames and its recovery after a crash are the real ones.
//
// Played are the programs that would change a machine: systemctl, systemd-run,
// nixos-rebuild, nix-env, switch-to-configuration, sync, sudo and some smaller
// ones. They do to the folder what the real ones do to a machine, with the same
// command lines, messages and exit codes as far as the scripts depend on them.
// "Units" are processes in sessions of their own, with no environment but what
// systemd-run was given; killing a unit kills every process of its session.
//
// # Systems that misbehave
//
// A tree's file vpstest.conf says how the system that is built from it behaves;
// without one it is a good system. Its settings are the fields of [System]:
//
//	conf := vpstest.System{Exit: 4, Units: []vpstest.Unit{{Name: "web.service"}}}.Conf()
//
// Activating another system undoes what the first has done, as on a real server.
//
// # Connections that misbehave
//
// [WithLinks] gives each connection, by its number, a [Link]: a round-trip time,
// a byte at which it is cut, a refused login, another host key, silence, a huge
// banner, an answer of the test's own, a full disk.
//
// # Servers that die
//
// [Server.Restart] is a crash: every process dies, /run is empty, and the boot
// default becomes the running system. [Server.PowerCut] also takes away what was
// not synced. [WithHook] stops at any call of a played program, which is where a
// test can let the server die at the worst moment.
//
// # Caveats
//
// It needs a POSIX system with /bin/sh and, where flock, setsid or timeout are
// missing (macOS), perl. The commands that a client sends are run on this machine
// as this user: give it no commands but your own. Names inside the folder are
// relative to it (VPS_ROOT); a command that ignores VPS_ROOT reaches the real
// file system, SFTP never does.
package vpstest
