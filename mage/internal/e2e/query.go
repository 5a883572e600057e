package e2e

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Address is where the server is reached from this machine; it stays the same
// when the server is started again.
func (s *Server) Address() netip.Addr { return s.address }

// KeyFile is the path of the private key that may log in as root.
func (s *Server) KeyFile() string { return s.keys.userFile }

// HostKey is the server's public host key, "ssh-ed25519 AAAA…".
func (s *Server) HostKey() string { return s.keys.hostPublic }

// Exec runs a bash script as root on the server, past SSH and the network, with
// the PATH of the current system. It fails the test if the script fails, and
// returns what it printed without the last newline.
func (s *Server) Exec(script string) string {
	s.t.Helper()
	out, err := s.Try(script)
	noError(s.t, err, script, out)
	return out
}

// Try is Exec for scripts that may fail; the text is then stderr, too.
func (s *Server) Try(script string) (string, error) {
	return try(commandLimit, "docker", "exec",
		"--env", "PATH=/run/current-system/sw/bin", "--env", "HOME=/root", "--workdir", "/root",
		s.container, "/bin/bash", "-c", script)
}

// Await waits until a script succeeds on the server, at most for limit.
func (s *Server) Await(script string, limit time.Duration) {
	s.t.Helper()
	eventually(s.t, limit, script, func() bool {
		_, err := s.Try(script)
		return err == nil
	})
}

// Current is the store path of the running system.
func (s *Server) Current() string {
	s.t.Helper()
	return s.Exec("readlink -f /run/current-system")
}

// Booted is the store path of the system that was started.
func (s *Server) Booted() string {
	s.t.Helper()
	return s.Exec("readlink -f /run/booted-system")
}

// Default is the store path of the system that the next start takes.
func (s *Server) Default() string {
	s.t.Helper()
	return s.Exec("cat /boot/default")
}

// Profile is the store path of the system profile's current generation.
func (s *Server) Profile() string {
	s.t.Helper()
	return s.Exec("readlink -f /nix/var/nix/profiles/system")
}

// Generation is the number of the system profile's current generation.
func (s *Server) Generation() int {
	s.t.Helper()
	link := s.Exec("readlink /nix/var/nix/profiles/system")
	number, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(link, "system-"), "-link"))
	noError(s.t, err)
	return number
}

// Unit is a unit's ActiveState: "active", "failed", "inactive" and so on.
func (s *Server) Unit(name string) string {
	s.t.Helper()
	return s.Exec("systemctl show --property ActiveState --value " + name)
}

// Tree is the listing of a folder on the server, one line a file: type and
// permissions, size, path and, for a link, its target. Empty when there is none.
func (s *Server) Tree(dir string) string {
	s.t.Helper()
	return s.Exec("[ ! -d " + dir + " ] || find " + dir + " -mindepth 1 -printf '%M %s %P %l\\n' | LC_ALL=C sort -k 3")
}

// Read is the content of a file on the server.
func (s *Server) Read(path string) string {
	s.t.Helper()
	return s.Exec("cat " + path)
}
