package run

import (
	_ "embed"
	"errors"
	"io"
	"strconv"
	"strings"
)

//go:embed scripts/fresh.sh
var freshScript string

//go:embed scripts/authorize.sh
var authorizeScript string

// FreshFacts are what any Linux server says of itself, before it is wiped.
type FreshFacts struct {
	Kernel     string // as uname -s prints it
	Arch       string // as uname -m prints it
	UID        int
	Hostname   string
	OS         string // as /etc/os-release names it
	Installer  bool   // it is the installer's system, in memory
	NixOS      bool
	Memory     int64 // bytes; 0 if unknown
	Tar        bool
	Cpio       bool
	Setsid     bool     // there is one that knows --wait
	Disks      []string // of those asked for, the ones that are block devices
	Missing    []string // of those asked for, the others
	Devices    []string // what lsblk shows
	Mounts     []string // file systems on devices
	Generation int      // of a NixOS; 0 if there is none
	Record     *Record  // it is ours: the last commit
}

// Fresh builds the command whose output [ParseFresh] reads. It changes nothing.
// disks are the devices that are going to be erased.
func (s Shell) Fresh(disks []string) Command {
	return s.library(freshScript, [2]string{"DISKS", strings.Join(disks, "\n")})
}

// Authorize builds the command that lets a key, a line as authorized_keys has
// it, log in as a user.
func (s Shell) Authorize(login, key string) Command {
	return s.library(authorizeScript, [2]string{"LOGIN", login}, [2]string{"KEY", key}, [2]string{"ADD", "1"})
}

// Unauthorize builds the command that takes back what Authorize gave, wherever
// the key has got to by then. Without it nothing changes.
func (s Shell) Unauthorize(login, key string) Command {
	return s.library(authorizeScript, [2]string{"LOGIN", login}, [2]string{"BLOB", blob(key)}, [2]string{"ADD", ""})
}

// blob is the part of a key's line that no other key has: programs rewrite the
// comment.
func blob(key string) string {
	for _, word := range strings.Fields(key) {
		if strings.HasPrefix(word, "AAAA") {
			return word
		}
	}
	return key
}

// Optimise builds the command that makes equal files of the Nix store one.
func (s Shell) Optimise() Command {
	return s.script("exec /run/current-system/sw/bin/nix-store --optimise\n")
}

// Reboot builds the command that restarts the server. It ends before that.
func (s Shell) Reboot() Command {
	return s.library(`PATH=$PATH:$ROOT/run/current-system/sw/bin
nohup sh -c 'sleep 1; systemctl reboot' >/dev/null 2>&1 </dev/null &
`)
}

// ParseFresh reads the output of [Shell.Fresh].
func ParseFresh(r io.Reader) (FreshFacts, error) {
	f := FreshFacts{UID: -1}
	seen := false
	err := readFields("facts", r, func(key, value string) error {
		if key == "fresh" {
			seen = true
			return nil
		}
		return f.set(key, value)
	})
	if err == nil && !seen {
		err = &ParseError{What: "facts", Err: errors.New("there are none")}
	}
	return f, err
}

func (f *FreshFacts) set(key, value string) error {
	if rest, ok := strings.CutPrefix(key, "record."); ok {
		if f.Record == nil {
			f.Record = &Record{}
		}
		return f.Record.set(rest, value)
	}
	if into, ok := map[string]*string{"kernel": &f.Kernel, "arch": &f.Arch, "hostname": &f.Hostname, "os": &f.OS}[key]; ok {
		*into = value
		return nil
	}
	if into, ok := map[string]*bool{"installer": &f.Installer, "nixos": &f.NixOS, "tar": &f.Tar, "cpio": &f.Cpio, "setsid": &f.Setsid}[key]; ok {
		*into = value == "1"
		return nil
	}
	return f.setOther(key, value)
}

func (f *FreshFacts) setOther(key, value string) (err error) {
	var n int64
	switch key {
	case "uid":
		f.UID, err = strconv.Atoi(value)
	case "memory":
		n, err = number(value)
		f.Memory = n << 10
	case "generation":
		n, err = number(value)
		f.Generation = int(n)
	case "disk":
		f.Disks, err = bounded(f.Disks, value)
	case "nodisk":
		f.Missing, err = bounded(f.Missing, value)
	case "blockdevice":
		f.Devices, err = bounded(f.Devices, value)
	case "mount":
		f.Mounts, err = bounded(f.Mounts, value)
	}
	return err
}
