package vpstest

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

// ConfFile is the file of a tree that says how the system built from it behaves.
const ConfFile = "vpstest.conf"

// Forever is a time that no test outlasts.
const Forever = time.Hour

// How a system that is running treats SSH.
const (
	SSHStopped = "stopped" // connections are refused, and the open ones cut
	SSHDropped = "dropped" // connections open, and nothing ever answers
	SSHDenied  = "denied"  // every login is refused
)

// System is the behaviour of a system built from a tree. The zero value is a
// good system. Times have a resolution of one millisecond.
type System struct {
	// Building.

	BuildFails string        // nixos-rebuild fails with this text
	BuildTime  time.Duration // how long it takes
	BuildLines int           // lines that it prints
	Outputs    []string      // the flake's systems; none means vps-x86 and vps-arm
	Version    string        // of NixOS; empty means one of ours
	Kernel     int64         // size of the kernel in bytes
	Facts      string        // its etc/vps/facts.json; empty means that it has none
	NoSwitch   bool          // it has no bin/switch-to-configuration

	// Switching to it.

	Inhibited string        // the running system differs in this critical part
	Hang      time.Duration // before it changes anything
	Stall     time.Duration // after it has changed everything
	Exit      int           // exit code
	Early     bool          // a failure comes before anything was changed
	Output    string        // what it prints
	BootFails bool          // its boot loader cannot be installed
	Snippets  []string      // activation snippets that fail

	// Once it runs.

	SSH      string   // one of the SSH constants; empty means that it works
	Port     int      // SSH port, also in its sshd_config; 0 means the server's own
	Missing  []string // paths of secrets that are not there
	Units    []Unit   // units in trouble
	FillDisk bool     // everything that is free is used up (needs WithDiskSize)

	// Leaving it.

	LeaveFails int // how many switches to another system fail first
}

// Unit is a unit in trouble.
type Unit struct {
	Name  string        // "web.service"
	State string        // "failed" (also when empty), "auto-restart", "activating"
	After time.Duration // after the switch
	User  string        // whose service manager; empty means the system's

	For     time.Duration // after which it is well again; 0 means never
	Foreign bool          // the system does not declare it: it is transient, or somebody's own
}

// secrets lists the paths at which the system built from tree puts its secrets:
// those of its secrets.yaml, where sops-nix puts them, without the missing ones.
func (s System) secrets(tree fs.FS) []string {
	missing := map[string]bool{}
	for _, p := range s.Missing {
		missing[path.Clean(p)] = true
	}
	text, _ := fs.ReadFile(tree, "secrets/secrets.yaml")
	var paths []string
	for _, line := range strings.Split(string(text), "\n") {
		name, _, found := strings.Cut(line, ":")
		name = strings.Trim(name, `"'`)
		if !found || name == "" || name == "sops" || strings.ContainsAny(line[:1], " \t#-") || strings.Contains(name, "..") {
			continue
		}
		for _, dir := range []string{"/run/secrets/", "/run/secrets-for-users/"} {
			if p := path.Clean(dir + name); !missing[p] {
				paths = append(paths, p)
			}
		}
	}
	return paths
}
