package run

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Facts are what a server says of itself, before anything is decided.
type Facts struct {
	NixOS     bool
	OS        string // as /etc/os-release names it
	Hostname  string
	Arch      string // as uname -m prints it
	UID       int
	Systemd   bool
	Time      time.Time // the server's clock
	Memory    int64     // bytes
	Port      int       // that sshd took this login on; 0 is unknown. A router may forward another to it.
	Current   string    // store path of the running system
	Booted    string    // store path of the system that was booted
	Profile   string    // store path of the newest generation: the boot default
	Version   string    // NixOS version of the running system, "26.05.20260820.5880666"
	AgeKeys   []string  // SHA-256 of each identity line in the server's key file
	SSHKeys   []string  // public halves of the SSH host keys that were asked for, as far as they are there
	Lacks     []string  // programs that a run needs and that are not there
	ReadOnly  []string  // folders that must be writable and are not
	Intent    string    // a run whose commit was interrupted
	Open      []string  // runs that switched and were never confirmed or undone
	Upgrade   Upgrade   // the server's own
	State     string    // systemctl is-system-running
	Units     []Unit    // failed or restarting, if asked for
	TreeKind  TreeKind
	Manifest  string // canonical listing of /etc/nixos, if asked for
	Record    *Record
	Holder    *Holder
	LastRun   string
	Last      Status
	FreeNix   int64 // bytes free for /nix/store
	FreeEtc   int64 // bytes free for /etc
	FreeState int64 // bytes free for /var/lib/vps
	FreeBoot  int64 // bytes free for /boot

	// Generation is the number of the boot default, 0 when there is none.
	Generation int
}

// TreeKind is what /etc/nixos is.
type TreeKind string

// What /etc/nixos can be. Only a folder, or nothing, can be exchanged by a rename.
const (
	TreeDir     TreeKind = "dir"
	TreeMissing TreeKind = "missing"
	TreeSymlink TreeKind = "symlink"
	TreeMount   TreeKind = "mount"
	TreeOther   TreeKind = "other"
)

// Unit is a systemd unit in trouble.
type Unit struct {
	Scope string // "system", or "user:NAME"
	Name  string
	State string // "failed", "auto-restart"
}

func (u Unit) String() string {
	if u.Scope == "system" {
		return u.Name + " (" + u.State + ")"
	}
	return u.Name + " of " + strings.TrimPrefix(u.Scope, "user:") + " (" + u.State + ")"
}

// Record is what the server knows of the last commit.
type Record struct {
	ID, Kind, Action string
	Output           string // flake output that it was built from; "" is unknown
	Digest           string
	Generation       int
	System           string
	Commit           string
	Dirty            bool
	Who, From        string
	When             time.Time
}

// Holder is the run that holds the server.
type Holder struct {
	ID, Who, From, Digest, Commit, Action, Kind string
	Generation                                  int // that a rollback leads to
	Since                                       time.Time
	Confirm, SwitchTimeout                      time.Duration // its deadlines; SwitchTimeout is 0 where it does not say
	Status                                      Status
}

// ParseFacts reads the output of [Shell.Facts].
func ParseFacts(r io.Reader) (Facts, error) {
	var f Facts
	var manifest strings.Builder
	seen := false
	err := readFields("facts", r, func(key, value string) error {
		if key == "facts" {
			seen = true
			return nil
		}
		if key == "m" {
			manifest.WriteString(value)
			manifest.WriteByte('\n')
			return nil
		}
		return f.set(key, value)
	})
	if err == nil && !seen {
		err = &ParseError{What: "facts", Err: errors.New("there are none")}
	}
	f.Manifest = manifest.String()
	return f, err
}

func (f *Facts) set(key, value string) error {
	if rest, ok := strings.CutPrefix(key, "record."); ok {
		if f.Record == nil {
			f.Record = &Record{}
		}
		return f.Record.set(rest, value)
	}
	if rest, ok := strings.CutPrefix(key, "holder."); ok {
		if f.Holder == nil {
			f.Holder = &Holder{}
		}
		return f.Holder.set(rest, value)
	}
	if into, ok := f.texts()[key]; ok {
		*into = value
		return nil
	}
	if into, ok := f.kilobytes()[key]; ok {
		n, err := number(value)
		*into = n << 10
		return err
	}
	return f.setOther(key, value)
}

func (f *Facts) texts() map[string]*string {
	return map[string]*string{
		"os": &f.OS, "hostname": &f.Hostname, "arch": &f.Arch, "current": &f.Current,
		"booted": &f.Booted, "profile": &f.Profile, "version": &f.Version, "intent": &f.Intent,
		"systemstate": &f.State, "tree": (*string)(&f.TreeKind),
		"last.id": &f.LastRun,
	}
}

func (f *Facts) kilobytes() map[string]*int64 {
	return map[string]*int64{
		"memory": &f.Memory, "free.nix": &f.FreeNix, "free.etc": &f.FreeEtc,
		"free.state": &f.FreeState, "free.boot": &f.FreeBoot,
	}
}

func (f *Facts) setOther(key, value string) (err error) {
	switch key {
	case "nixos":
		f.NixOS = value == "1"
	case "systemd":
		f.Systemd = value == "1"
	case "uid":
		f.UID, err = strconv.Atoi(value)
	case "generation":
		var n int64
		n, err = number(value)
		f.Generation = int(n)
	case "port":
		var n uint64
		n, err = strconv.ParseUint(value, 10, 16)
		f.Port = int(n)
	case "time":
		f.Time, err = unix(value)
	case "agekey":
		f.AgeKeys, err = bounded(f.AgeKeys, value)
	case "sshkey":
		f.SSHKeys, err = bounded(f.SSHKeys, value)
	case "lacks":
		f.Lacks, err = bounded(f.Lacks, value)
	case "readonly":
		f.ReadOnly, err = bounded(f.ReadOnly, value)
	case "open":
		f.Open, err = bounded(f.Open, value)
	case "unit":
		var u Unit
		if u, err = parseUnit(value); err == nil {
			f.Units, err = bounded(f.Units, u)
		}
	case "upgrade":
		err = f.Upgrade.set(value)
	case "last.status":
		f.Last, err = ParseStatus(value)
	}
	return err
}

func (r *Record) set(key, value string) (err error) {
	switch key {
	case "id":
		r.ID = value
	case "kind":
		r.Kind = value
	case "action":
		r.Action = value
	case "output":
		r.Output = value
	case "digest":
		r.Digest = value
	case "generation":
		var n int64
		n, err = number(value)
		r.Generation = int(n)
	case "system":
		r.System = value
	case "commit":
		r.Commit = value
	case "dirty":
		r.Dirty = value == "1"
	case "who":
		r.Who = value
	case "from":
		r.From = value
	case "when":
		r.When, err = unix(value)
	}
	return err
}

func (h *Holder) set(key, value string) (err error) {
	switch key {
	case "id":
		h.ID = value
	case "who":
		h.Who = value
	case "from":
		h.From = value
	case "digest":
		h.Digest = value
	case "commit":
		h.Commit = value
	case "generation":
		var n int64
		n, err = number(value)
		h.Generation = int(n)
	case "action":
		h.Action = value
	case "kind":
		h.Kind = value
	case "since":
		h.Since, err = time.Parse(time.RFC3339, value)
	case "confirm":
		h.Confirm, err = wholeSeconds(value)
	case "switchtimeout":
		h.SwitchTimeout, err = wholeSeconds(value)
	case "status":
		h.Status, err = ParseStatus(value)
	}
	return err
}

func parseUnit(s string) (Unit, error) {
	f := strings.Fields(s)
	if len(f) != 3 {
		return Unit{}, errors.New("not a unit")
	}
	return Unit{Scope: f[0], Name: f[1], State: f[2]}, nil
}

// number reads a count; nothing at all is none.
func number(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 52)
	if err != nil || n < 0 {
		return 0, errors.New("not a number")
	}
	return n, nil
}

// wholeSeconds reads a duration; one of years is a lie.
func wholeSeconds(s string) (time.Duration, error) {
	n, err := number(s)
	if n > int64(maxDuration/time.Second) {
		return 0, errors.New("too long")
	}
	return time.Duration(n) * time.Second, err
}

const maxDuration = 10 * 365 * 24 * time.Hour

func unix(s string) (time.Time, error) {
	n, err := number(s)
	return time.Unix(n, 0), err
}

const maxList = 1000

// bounded appends, as long as a server keeps to what a server can have.
func bounded[T any](list []T, v T) ([]T, error) {
	if len(list) == maxList {
		return list, fmt.Errorf("more than %d of them", maxList)
	}
	return append(list, v), nil
}

// NixpkgsDate gives the day of the running system's nixpkgs, as its version
// tells ("26.05.20260820.5880666"), and the short revision.
func (f Facts) NixpkgsDate() (day time.Time, rev string, ok bool) {
	parts := strings.Split(f.Version, ".")
	for i, p := range parts {
		t, err := time.Parse("20060102", p)
		if err != nil {
			continue
		}
		if i+1 < len(parts) {
			rev = parts[i+1]
		}
		return t, rev, true
	}
	return time.Time{}, "", false
}
