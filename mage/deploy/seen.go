package deploy

import (
	"time"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/tree"
)

// Record is what a host keeps of the commit that made a generation, or that it made
// last.
type Record struct {
	Generation int
	Output     string // flake output that it was built from; "" is unknown
	Digest     string // SHA-256 of the tree's manifest
	Commit     string // git commit of the tree; "" is unknown
	Dirty      bool   // the tree differed from that commit
	Who, From  string // person and machine
	When       time.Time
}

// Generation is one generation of a host's system profile.
type Generation struct {
	Number  int
	Made    time.Time
	System  string // store path
	Version string // of NixOS

	// Record is of the commit that made it; of one that the server made by itself
	// (Upgraded), of the commit whose tree it was built from. Nil: older than the first
	// commit.
	Record   *Record
	Upgraded bool
	Tree     bool // the tree is kept, so that a rollback restores both

	Default bool // what the server boots
	Current bool // what it runs
	Booted  bool // what it booted last
}

// Upgrade is the last upgrade that a host made by itself, as systemd tells of it.
type Upgrade struct {
	Outcome string    // "unknown", "running", "succeeded", "failed" or "skipped"
	Result  string    // of one that ended, as systemd names it: "success", "exit-code", …
	Ended   time.Time // zero where it is unknown, or has not ended
}

// HostStatus is what status shows of one host. With an Err, only Host, State, Err and
// Time are known.
type HostStatus struct {
	Host       string
	State      string // says in a few words whether what runs is what was committed
	Generation int    // what the server boots
	System     string // store path of what runs
	Version    string // of NixOS, that runs
	Record     *Record
	Units      []string // units in trouble, such as "web.service (failed)"
	LastRun    string   // its ID; "" if there was none
	LastResult string   // of that run, in the server's words
	Reboot     bool     // what runs is not what was booted
	Upgrade    Upgrade
	Drift      bool // /etc/nixos is not what the last commit put there
	Unfinished bool // a bootstrap of the host did not come to its end
	Err        error
	Time       time.Duration // that looking took
}

// Change is one path of /etc/nixos that an update would change.
type Change struct {
	Kind   string // "added", "changed" or "removed"
	Path   string
	Remark string // such as "now executable"; mostly ""
}

// Pin is what flake.lock says of one input.
type Pin struct {
	Rev          string // commit; "" where an input has none
	NarHash      string // of its content
	LastModified time.Time
}

func recordOf(r *run.Record) *Record {
	if r == nil {
		return nil
	}
	return &Record{Generation: r.Generation, Output: r.Output, Digest: r.Digest, Commit: r.Commit, Dirty: r.Dirty,
		Who: r.Who, From: r.From, When: r.When}
}

func generationOf(g run.Generation) Generation {
	return Generation{Number: g.Number, Made: g.Made, System: g.System, Version: g.Version, Record: recordOf(g.Record),
		Upgraded: g.Upgraded, Tree: g.Tree, Default: g.Default, Current: g.Current, Booted: g.Booted}
}

// upgradeOf leaves out what systemd says by default of a unit that has not ended.
func upgradeOf(u run.Upgrade) Upgrade {
	is := Upgrade{Outcome: u.Outcome()}
	switch is.Outcome {
	case run.UpgradeSucceeded, run.UpgradeFailed, run.UpgradeSkipped:
		is.Result, is.Ended = u.Result, u.Ended
	}
	return is
}

// statusFrom is the status of a host that said that of itself, or could not be asked.
func statusFrom(f run.Facts, err error, unfinished bool) HostStatus {
	s := HostStatus{Unfinished: unfinished, Err: err}
	if err != nil {
		s.State = string(outcomeOf(codeOf(err)))
		return s
	}
	s.Generation, s.System, s.Version = f.Generation, f.Current, f.Version
	s.Record, s.Upgrade = recordOf(f.Record), upgradeOf(f.Upgrade)
	s.LastRun, s.LastResult, s.Reboot = f.LastRun, string(f.Last.Result()), f.Booted != f.Current
	s.Drift = f.Record != nil && digestOf(f) != f.Record.Digest
	for _, u := range f.Units {
		s.Units = append(s.Units, u.String())
	}
	s.State = stateOf(f, s)
	return s
}

func stateOf(f run.Facts, s HostStatus) string {
	switch {
	case !f.NixOS:
		return "not NixOS"
	case f.Intent != "":
		return "commit interrupted"
	case len(f.Open) > 0:
		return "waiting for its watchdog"
	case f.Holder != nil:
		return f.Holder.Status.Phase
	case f.Record == nil && s.Unfinished:
		return "bootstrap unfinished"
	case f.Record == nil:
		return "not ours yet"
	case f.Current != f.Profile:
		return "another system than the boot default"
	case s.Drift:
		return "/etc/nixos changed by hand"
	case f.Generation > f.Record.Generation:
		return "upgraded by itself"
	}
	return "as committed"
}

func changesOf(d tree.Difference) []Change {
	var all []Change
	for _, row := range d.Rows() {
		all = append(all, Change{Kind: row[0], Path: row[1], Remark: row[2]})
	}
	return all
}

func pinOf(p facts.Pin) Pin { return Pin{Rev: p.Rev, NarHash: p.NarHash, LastModified: p.LastModified} }
