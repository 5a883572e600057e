package run

import (
	"errors"
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

// End says whether the run is over.
func (s Status) End() bool { return s.Phase == PhaseEnd }

// Result is how the run ended.
func (s Status) Result() Result { return Result(s.Fields["result"]) }

// maxStatus is how long a status line may be: the built system's facts take one.
const maxStatus = 300 << 10

// wholeFields are what a built system says of itself: JSON objects, one in a line of
// the phase [PhaseBuilt], of which it takes the rest.
var wholeFields = []string{"facts", "manifest"}

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
	if len(words) < 2 || len(line) > maxStatus || len(whole) == 0 && len(line) > maxLine {
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

// ParseStart reads a line that [Shell.Start] printed. It is the answer, or what a
// login's shell had to say before it. The error says why the run did not start;
// nothing has changed on the server then.
func ParseStart(line string) (answered bool, err error) {
	line = strings.TrimSpace(line)
	if why, ok := strings.CutPrefix(line, "failed="); ok {
		return true, errors.New(cut(why, 300))
	}
	return line == "started=1", nil
}

// Evidence is what a new login saw of a switched system.
type Evidence struct {
	Current, Wanted string   // store paths of the running and of the new system
	Missing         []string // declared secrets that are not there
	Units           []Unit   // of the new system, in trouble now and not before the switch
	Others          []Unit   // the same, but no part of the new system: not judged
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

// Verdict gives "" when the new system may stay, else why not.
func (e Evidence) Verdict() string {
	switch {
	case e.Current != e.Wanted || e.Current == "":
		return "the running system is not the new one"
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
