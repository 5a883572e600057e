package run

import (
	"encoding/json"
	"github.com/dagadbm/vps/mage/internal/facts"

	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is how a run ended.
type Result string

// The results. The server is as it was after every one but the first three,
// stuck and rebooted.
const (
	ResultCommitted  Result = "committed"  // new system and tree are the persistent ones
	ResultTested     Result = "tested"     // the new system runs until the next boot
	ResultBuilt      Result = "built"      // built, nothing else
	ResultDry        Result = "dry"        // built, and told what a switch would do
	ResultFailed     Result = "failed"     // before anything changed
	ResultRolledBack Result = "rolledback" // switched, and switched back
	ResultBusy       Result = "busy"       // another run, or an upgrade, holds the server
	ResultStale      Result = "stale"      // /etc/nixos changed since it was compared
	ResultStuck      Result = "stuck"      // a commit could be neither finished nor undone
	ResultRebooted   Result = "rebooted"   // the old system did not come back; it boots now
)

// The phases of a run, in order, as status lines name them.
const (
	PhaseStaging     = "staging"
	PhaseBuilding    = "building"
	PhaseBuilt       = "built"
	PhaseSwitching   = "switching"
	PhaseSwitched    = "switched"
	PhaseConfirming  = "confirming"
	PhaseCommitting  = "committing"
	PhaseRollingBack = "rolling-back"
	PhaseRebooting   = "rebooting"
	PhaseEnd         = "end"
	// PhaseGone is not the run's word: its supervisor died.
	PhaseGone = "gone"
)

// Status is one status line of a run.
type Status struct {
	Time    time.Time
	Phase   string
	Fields  map[string]string
	Message string // for a person; foreign text
}

// Text is what the line says, for a person.
func (s Status) Text() string {
	if s.Message == "" {
		return s.Phase
	}
	return s.Phase + ": " + s.Message
}

// Built is what a system says of itself that was just built: in facts.json, else by
// what it is made of.
type Built struct {
	Ports   []int    // where its sshd will listen; nil is unknown, empty is nowhere
	Sure    bool     // Nix says so; else its sshd_config does, which need not be all of it
	Secrets []string // where its secrets will lie
}

// add joins what came in several lines.
func (b *Built) add(more Built) {
	if more.Ports != nil {
		b.Ports, b.Sure = more.Ports, more.Sure
	}
	b.Secrets = append(b.Secrets, more.Secrets...)
}

// End says whether the run is over.
func (s Status) End() bool { return s.Phase == PhaseEnd }

// Result is how the run ended.
func (s Status) Result() Result { return Result(s.Fields[FieldResult]) }

// maxStatusLine is how long a status line may be, in bytes: the built system's facts
// take one.
const maxStatusLine = 300 << 10

// wholeFields are what a built system says of itself: JSON objects, one in a line of
// the phase [PhaseBuilt], of which it takes the rest.
var wholeFields = []string{fieldFacts, fieldManifest}

// ParseStatus reads a status line: seconds, phase, KEY=VALUE words, and a message
// (or what a built system says of itself) that takes the rest.
func ParseStatus(line string) (Status, error) {
	if line == "" {
		return Status{}, nil
	}
	if line == PhaseGone {
		return Status{Phase: PhaseGone}, nil
	}
	head, message := line, ""
	whole := map[string]string{}
	if time, rest, _ := strings.Cut(line, " "+PhaseBuilt+" "); !strings.Contains(time, " ") {
		for _, key := range wholeFields {
			if value, ok := strings.CutPrefix(rest, key+"="); ok {
				head, whole[key] = time+" "+PhaseBuilt, value
			}
		}
	}
	if len(whole) == 0 {
		head, message, _ = strings.Cut(line, " message=")
	}
	words := strings.Fields(head)
	if len(words) < 2 || len(line) > maxStatusLine || len(whole) == 0 && len(line) > maxLine {
		return Status{}, errors.New("not a status line")
	}
	s := Status{Phase: words[1], Message: message, Fields: whole}
	var err error
	if s.Time, err = unix(words[0]); err != nil {
		return Status{}, errors.New("not a status line")
	}
	for _, w := range words[2:] {
		if key, value, ok := strings.Cut(w, "="); ok {
			s.Fields[key] = value
		}
	}
	return s, nil
}

// Built gives what the line says of a system that was just built. What is not of the
// form that it has to have says nothing.
func (s Status) Built() (b Built) {
	if host, err := facts.Parse([]byte(s.Fields[fieldFacts])); err == nil {
		b.Ports, b.Sure = host.SSHPorts, host.SSHPorts != nil
		for _, secret := range host.Secrets {
			b.addSecret(secret.Path)
		}
	}
	var manifest struct {
		Secrets []struct{ Path string }
	}
	if json.Unmarshal([]byte(s.Fields[fieldManifest]), &manifest) == nil {
		for _, secret := range manifest.Secrets {
			b.addSecret(secret.Path)
		}
	}
	for text := range strings.SplitSeq(s.Fields[fieldPorts], ",") {
		if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
			b.Ports = append(b.Ports, int(n))
		}
	}
	return b
}

// addSecret keeps a path that can be asked for on the server.
func (b *Built) addSecret(path string) {
	if strings.HasPrefix(path, "/") && len(path) < 4096 && len(b.Secrets) < maxList && oneLine(path) == path {
		b.Secrets = append(b.Secrets, path)
	}
}

// ParseStart reads a line that an order to start a run printed. It is the answer, or what a
// login's shell had to say before it. The error says why the run did not start;
// nothing has changed on the server then.
func ParseStart(line string) (answered bool, err error) {
	line = strings.TrimSpace(line)
	if why, ok := strings.CutPrefix(line, answerFailed); ok {
		return true, errors.New(cut(why, 300))
	}
	return line == answerStarted, nil
}

// Evidence is what a new login saw of a switched system.
type Evidence struct {
	Current, Wanted string   // store paths of the running and of the new system
	Missing         []string // declared secrets that are not there
	Units           []Unit   // of the new system, in trouble now and not before the switch
	Others          []Unit   // the same, but no part of the new system: not judged
	Lacks           []string // programs that the next run needs and the new system has not
}

// Add reads one line of [Shell.Probe]; done says that it was the last before
// the verdict is expected.
func (e *Evidence) Add(line string) (done bool, err error) {
	key, value, _ := strings.Cut(line, "=")
	switch key {
	case "current":
		e.Current = value
	case "wanted":
		e.Wanted = value
	case "missing":
		e.Missing, err = bounded(e.Missing, value)
	case "lacks":
		e.Lacks, err = bounded(e.Lacks, value)
	case "unit", "other":
		into := &e.Units
		if key == "other" {
			into = &e.Others
		}
		var u Unit
		if u, err = parseUnit(value); err == nil {
			*into, err = bounded(*into, u)
		}
	case "probed":
		return true, nil
	}
	if err != nil {
		err = &ParseError{What: "look at the new system", Line: line, Err: err}
	}
	return false, err
}

// Verdict gives "" when the new system may stay, else why not. Programs that the
// server lacked before are no reason.
func (e Evidence) Verdict(lackedBefore ...string) string {
	lacks := slices.DeleteFunc(slices.Clone(e.Lacks), func(p string) bool { return slices.Contains(lackedBefore, p) })
	switch {
	case e.Current != e.Wanted || e.Current == "":
		return "the running system is not the new one"
	case len(lacks) > 0:
		return "the new system lacks " + strings.Join(lacks, ", ") + ", which the next update needs"
	case len(e.Missing) > 0:
		return "missing secret " + strings.Join(e.Missing, ", ")
	case len(e.Units) > 0:
		names := make([]string, len(e.Units))
		for i, u := range e.Units {
			names[i] = u.String()
		}
		return "newly in trouble: " + strings.Join(names, ", ")
	}
	return ""
}
