package run

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Kind is what a run does.
type Kind string

// The kinds of runs.
const (
	KindUpdate   Kind = "update"   // build the tree that was sent
	KindRollback Kind = "rollback" // go back to a generation and its tree
)

// Action is how far a run goes, in the words of nixos-rebuild.
type Action string

// The actions. Only switch and boot make anything persistent.
const (
	ActionSwitch Action = "switch" // build, activate, confirm, commit
	ActionBoot   Action = "boot"   // build, commit; active after a reboot
	ActionTest   Action = "test"   // build, activate, confirm; gone after a reboot
	ActionBuild  Action = "build"  // build only
	ActionDry    Action = "dry"    // build, and say what a switch would do
)

// ParseAction reads an action as a person writes it.
func ParseAction(s string) (Action, error) {
	switch a := Action(s); a {
	case ActionSwitch, ActionBoot, ActionTest, ActionBuild, ActionDry:
		return a, nil
	}
	return "", fmt.Errorf("unknown action %q: it is one of switch, boot, test, build, dry", s)
}

// Activates says whether the action makes the new system the running one, and so
// needs the watchdog and a confirmation.
func (a Action) Activates() bool { return a == ActionSwitch || a == ActionTest }

// Request is what a run is asked to do. It travels as the file "request".
type Request struct {
	Deadlines         // Confirm and Switch
	ID         string // names the run: letters, digits, "-"; sorts by time
	Kind       Kind
	Action     Action
	Output     string // flake output: of an update; of a rollback, where it is known
	Generation int    // of a rollback
	Digest     string // of the tree that shall be in /etc/nixos; NoDigest leaves it
	Base       string // of the tree in /etc/nixos that this was made for
	Who, From  string // user and machine, for other people to read
	Since      time.Time
	Commit     string // git commit of the tree, or ""
	Dirty      bool   // the tree differs from that commit
}

// NoDigest is in the place of a tree's digest where there is no tree.
const NoDigest = "none"

var (
	idForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)
	outputForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)
	digestForm = regexp.MustCompile(`^([0-9a-f]{64}|none)$`)
)

// Encode checks the request and gives its text.
func (r Request) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("run %q: %w", r.ID, err)
	}
	var b strings.Builder
	for _, f := range [][2]string{
		{"id", r.ID},
		{"kind", string(r.Kind)},
		{"action", string(r.Action)},
		{"output", r.Output},
		{"generation", fmt.Sprint(r.Generation)},
		{"digest", r.Digest},
		{"base", r.Base},
		{"confirm", seconds(r.Confirm)},
		{"switchtimeout", seconds(r.Switch)},
		{"who", word(r.Who)},
		{"from", word(r.From)},
		{"since", r.Since.UTC().Format(time.RFC3339)},
		{"commit", word(r.Commit)},
		{"dirty", flag(r.Dirty)},
	} {
		fmt.Fprintf(&b, "%s=%s\n", f[0], f[1])
	}
	return []byte(b.String()), nil
}

func (r Request) check() error {
	switch {
	case !idForm.MatchString(r.ID):
		return errors.New("bad name")
	case r.Kind == KindUpdate && !outputForm.MatchString(r.Output):
		return fmt.Errorf("bad flake output %q", r.Output)
	case r.Output != "" && !outputForm.MatchString(r.Output):
		return fmt.Errorf("bad flake output %q", r.Output)
	case r.Kind == KindRollback && r.Generation < 1:
		return fmt.Errorf("bad generation %d", r.Generation)
	case r.Kind != KindUpdate && r.Kind != KindRollback:
		return fmt.Errorf("unknown kind %q", r.Kind)
	case !digestForm.MatchString(r.Digest) || !digestForm.MatchString(r.Base):
		return fmt.Errorf("bad digest %q or %q", r.Digest, r.Base)
	case r.Confirm < 0 || r.Switch < time.Second:
		return fmt.Errorf("bad deadlines %v and %v", r.Confirm, r.Switch)
	}
	_, err := ParseAction(string(r.Action))
	return err
}

func seconds(d time.Duration) string { return fmt.Sprint(int64((d + time.Second - 1) / time.Second)) }

// word keeps a name of the laptop's from becoming a second line or field.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == '=' {
			return '_'
		}
		return r
	}, s)
}
