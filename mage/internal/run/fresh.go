package run

import (
	_ "embed" // for the scripts
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

//go:embed scripts/sshd.sh
var sshdScript string

//go:embed scripts/fresh.sh
var freshScript string

//go:embed scripts/authorize.sh
var authorizeScript string

//go:embed scripts/endleft.sh
var endLeftScript string

// FreshFacts are what any Linux server says of itself, before it is wiped.
type FreshFacts struct {
	Kernel        string // as uname -s prints it
	Arch          string // as uname -m prints it
	UID           int
	Hostname      string
	OS            string // as /etc/os-release names it
	Installer     bool   // it is the installer's system, in memory
	NixOS         bool
	Memory        int64 // bytes; 0 if unknown
	Tar           bool
	Cpio          bool
	Setsid        bool              // there is one that knows --wait
	Decompressors []string          // of gzip, xz and zstd
	Disks         []string          // of those asked for, the ones that are block devices
	Missing       []string          // of those asked for, the others
	Nodes         map[string]string // of those asked for: the name of the device, such as "sda"
	Devices       []Device          // the disks that it has
	Mounts        []string          // file systems on devices
	HostKeys      []string          // public host keys of every type, "ssh-ed25519 AAAA…"
	Left          []Leftover        // what an install that was interrupted left at work
	Generation    int               // of a NixOS; 0 if there is none
	Record        *Record           // it is ours: the last commit
}

// Device is a disk as a server shows it. Fields are "" or 0 if unknown.
type Device struct {
	Node   string // such as "sda", which may be another disk after the next start
	Size   int64  // bytes
	Model  string
	Serial string
	WWN    string
	Table  string   // the partition table's own id
	Names  []string // in /dev/disk/by-id
}

// Leftover is a process of an install.
type Leftover struct {
	PID     string
	Mark    string // who started it: PROJECT/RUN/PERSON/…
	Command string
}

// Fresh builds the command whose output [ParseFresh] reads. It changes nothing.
// disks are the devices that are going to be erased.
func (s Shell) Fresh(disks []string) Command {
	return s.library(sshdScript+freshScript, [2]string{"DISKS", strings.Join(disks, "\n")})
}

// Admission is who is let in for an install.
type Admission struct {
	Login string   // the user who logs in
	Key   string   // the install key, as authorized_keys has it
	Own   []string // the person's own public keys, for the way back in
	Mark  string   // comment of every line that is added
}

// Admit builds the command that lets the install key in, and has the installer let
// in who may log in now. [ParseAdmitted] reads its output.
func (s Shell) Admit(a Admission) Command {
	return s.library(sshdScript+authorizeScript, [2]string{"LOGIN", a.Login}, [2]string{"KEY", a.Key}, [2]string{"BLOB", blob(a.Key)},
		[2]string{"OWN", strings.Join(a.Own, "\n")}, [2]string{"MARK", a.Mark}, [2]string{"ADD", "1"})
}

// Admitted is the answer of [Shell.Admit].
type Admitted struct {
	LetIn    bool     // sshd reads a file that the install key is in
	Own      int      // keys for the way back in
	HostKeys []string // what the installer is going to show
}

// ParseAdmitted reads the output of [Shell.Admit].
func ParseAdmitted(r io.Reader) (Admitted, error) {
	var a Admitted
	err := readFields("answer", r, func(key, value string) (err error) {
		switch key {
		case "letin":
			a.LetIn = true
		case "own":
			a.Own, err = strconv.Atoi(value)
		case "hostkey":
			a.HostKeys, err = bounded(a.HostKeys, value)
		}
		return err
	})
	return a, err
}

// Expel builds the command that takes back what Admit gave, wherever it has got to
// by then. Without it nothing changes.
func (s Shell) Expel(a Admission) Command {
	return s.library(sshdScript+authorizeScript, [2]string{"LOGIN", a.Login}, [2]string{"BLOB", blob(a.Key)},
		[2]string{"MARK", a.Mark}, [2]string{"ADD", ""})
}

// EndLeft builds the command that ends all processes whose mark begins with project
// and a slash. [ParseEnded] reads its output.
func (s Shell) EndLeft(project string) Command {
	return s.library(endLeftScript, [2]string{"PROJECT", project})
}

// ParseEnded reads the output of [Shell.EndLeft]: the processes that ended, and
// those that do not.
func ParseEnded(r io.Reader) (ended, stay []string, err error) {
	err = readFields("answer", r, func(key, value string) (err error) {
		switch key {
		case "ended":
			ended, err = bounded(ended, value)
		case "stays":
			stay, err = bounded(stay, value)
		}
		return err
	})
	return ended, stay, err
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
	if into, ok := map[string]*[]string{"disk": &f.Disks, "nodisk": &f.Missing, "mount": &f.Mounts, "hostkey": &f.HostKeys,
		"decompressor": &f.Decompressors}[key]; ok {
		list, err := bounded(*into, value)
		*into = list
		return err
	}
	return f.setOther(key, value)
}

func (f *FreshFacts) setOther(key, value string) (err error) {
	var n int64
	first, rest, _ := strings.Cut(value, " ")
	switch key {
	case "uid":
		f.UID, err = strconv.Atoi(value)
	case "memory":
		n, err = number(value)
		f.Memory = n << 10
	case "generation":
		n, err = number(value)
		f.Generation = int(n)
	case "node":
		if f.Nodes == nil {
			f.Nodes = map[string]string{}
		}
		if len(f.Nodes) < maxList {
			f.Nodes[rest] = first
		}
	case "blockdevice":
		var d Device
		if d, err = parseDevice(value); err == nil && d.Size > 0 && !strings.HasPrefix(d.Node, "zram") {
			f.Devices, err = bounded(f.Devices, d)
		}
	case "byid":
		for i := range f.Devices {
			if f.Devices[i].Node == first {
				f.Devices[i].Names, err = bounded(f.Devices[i].Names, rest)
			}
		}
	case "left":
		mark, command, _ := strings.Cut(rest, " ")
		f.Left, err = bounded(f.Left, Leftover{PID: first, Mark: mark, Command: strings.TrimSpace(command)})
	}
	return err
}

// pair is one column as lsblk -P prints it.
var pair = regexp.MustCompile(`([A-Z]+)="([^"]*)"`)

// parseDevice reads a line of lsblk -P.
func parseDevice(line string) (Device, error) {
	var d Device
	for _, m := range pair.FindAllStringSubmatch(line, -1) {
		value := strings.TrimSpace(m[2])
		switch m[1] {
		case "NAME":
			d.Node = value
		case "SIZE":
			size, err := number(value)
			if err != nil {
				return d, err
			}
			d.Size = size
		case "MODEL":
			d.Model = value
		case "SERIAL":
			d.Serial = value
		case "WWN":
			d.WWN = value
		case "PTUUID":
			d.Table = value
		}
	}
	if d.Node == "" {
		return d, errors.New("a disk without a name")
	}
	return d, nil
}
