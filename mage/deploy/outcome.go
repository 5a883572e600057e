package deploy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
)

// Result is what became of one host.
type Result struct {
	Host    string        `json:"host"`
	Outcome Outcome       `json:"result"`
	Before  int           `json:"before"` // generation
	After   int           `json:"after"`
	Time    time.Duration `json:"-"`
	Kept    string        `json:"kept,omitempty"` // where foreign files were kept on the server
	Log     string        `json:"log,omitempty"`  // where the log of the run is kept here, in the project
	Err     error         `json:"-"`

	shown string // what status shows of the host, who has no outcome
}

// Outcome is how the work on one host ended, as a word of the JSON form. What a
// person reads of it is for whoever shows it: see package terminal.
type Outcome string

// The outcomes. An update ends with one of the first six, if it goes well, and a
// rollback with one of the next three. [Result.Err] says why one of the others came.
const (
	OutcomeNothing     Outcome = "nothing to do"         // the server runs the tree that it was to get
	OutcomeUpdated     Outcome = "updated"               // the new system runs, and the server boots it
	OutcomeNextBoot    Outcome = "updated for next boot" // the server boots the new system, and runs the old one until then
	OutcomeTested      Outcome = "active until reboot"   // the new system runs, and the server boots the old one
	OutcomeBuilt       Outcome = "built"                 // and nothing else
	OutcomeDry         Outcome = "dry run"               // built, and the log tells what a switch would do
	OutcomeBack        Outcome = "rolled back as asked"
	OutcomeBackAtBoot  Outcome = "rolled back for the next boot" // the server runs the newer system until then
	OutcomeCancelled   Outcome = "cancelled"                     // a run that waited to be confirmed was undone
	OutcomeFailed      Outcome = "failed"                        // and the server is as it was
	OutcomeRolledBack  Outcome = "rolled back"                   // the new system did not do, and the old one runs
	OutcomeUnreachable Outcome = "unreachable"
	OutcomeBusy        Outcome = "busy" // another run holds the server
	OutcomeUnknown     Outcome = "unknown"
)

// good are the ends of an update that went well.
var good = map[run.Result]Outcome{
	run.ResultCommitted: OutcomeUpdated,
	run.ResultTested:    OutcomeTested,
	run.ResultBuilt:     OutcomeBuilt,
	run.ResultDry:       OutcomeDry,
}

// conclude turns the end of a run into the result of a host.
func (r *Result) conclude(host string, command next.Step, end run.Status) {
	if outcome, ok := good[end.Result()]; ok {
		r.Outcome = outcome
		r.Kept = end.Fields[run.FieldKept]
		if n, err := strconv.Atoi(end.Fields[run.FieldGeneration]); err == nil {
			r.After = n
		}
		return
	}
	f := &Failure{Host: host, Code: CodeFailed, Now: asItWas, Err: errors.New(endText(end))}
	switch end.Result() {
	case run.ResultFailed:
		f.Next = failedNext(host, command, end)
	case run.ResultRolledBack:
		f.Code = CodeRolledBack
		f.Now = fmt.Sprintf("the server is back on generation %d and its old /etc/nixos", r.Before)
		f.Next = next.Say("correct what the log shows, then run: %s", command)
	case run.ResultRebooted:
		f.Code = CodeRolledBack
		f.Now = fmt.Sprintf("the old system did not come back by itself, so the server boots generation %d", r.Before)
		f.Next = next.Target("status", host)
	case run.ResultBusy:
		f.Code, f.Next = CodeBusy, busyNext(host, command, end)
	case run.ResultStale:
		f.Next = command
	default:
		f.Code = CodeUnknown
		f.Now = "a commit stopped half-way; the next run finishes or undoes it"
		f.Next = next.Say("%s, then %s", next.Target("status", host), command)
	}
	r.Err, r.Outcome = f, outcomeOf(f.Code)
}

// unhealthy names what the caller's own check found as the cause of a failure.
func (r *Result) unhealthy(end run.Status, sick error) {
	var f *Failure
	if sick == nil || !errors.As(r.Err, &f) {
		return
	}
	f.Err = &healthError{text: f.Err.Error(), err: sick}
	if end.Result() == run.ResultRolledBack {
		f.Next = next.Words("correct what the health check found, then run the same again") // by the caller's name
	}
}

// healthError is the caller's own error, in the form that it had on its way to the
// server and back.
type healthError struct {
	text string
	err  error
}

func (e *healthError) Error() string { return e.text }
func (e *healthError) Unwrap() error { return e.err }

func endText(end run.Status) string {
	text := end.Message
	if text == "" {
		text = "the run ended as " + string(end.Result())
	}
	if code := end.Fields[run.FieldCode]; code != "" && end.Fields[run.FieldReason] == "" && end.Message == "" {
		text += " (exit code " + code + ")"
	}
	return text
}

// busyNext: only another run can be cancelled.
func busyNext(host string, command next.Step, end run.Status) next.Step {
	if end.Fields[run.FieldReason] != "" {
		return next.Say("wait for it, then run: %s", command)
	}
	return next.Say("wait for it, or cancel it with: %s", next.Target("rollback", host))
}

// forNextBoot is a command with -action=boot.
func forNextBoot(command next.Step) next.Step {
	for _, c := range command.Commands() {
		return next.Target(c.Target, append(slices.Clone(c.Args), "-action=boot")...)
	}
	return command
}

func failedNext(host string, command next.Step, end run.Status) next.Step {
	switch {
	case end.Fields[run.FieldReason] == run.ReasonReboot:
		return next.Say("%s, then reboot the server", forNextBoot(command))
	case end.Fields[run.FieldReason] == run.ReasonFull:
		return next.Say("free some of it on the server (nix-collect-garbage --delete-older-than 14d removes old generations), then run: %s", command)
	case end.Fields[run.FieldReason] == run.ReasonBoot:
		return next.Say("remove what /boot on the server does not need (old generations, for one), then run: %s", command)
	case end.Fields[run.FieldReason] == run.ReasonMount:
		return next.Say("unmount it on the server, and mount it elsewhere, then run: %s", command)
	case end.Fields[run.FieldReason] == run.ReasonUnswitchable:
		return next.Say("remove system.switch.enable = false from nix/, then run: %s", command)
	case end.Fields[run.FieldReason] == run.ReasonLacking:
		return next.Say("add them to environment.systemPackages on the server itself, by nixos-rebuild, then run: %s", command)
	case end.Fields[run.FieldReason] == run.ReasonStuck:
		return next.Say("%s, correct there what that run's log names (most often space in /boot or /var), then run: %s",
			next.Target("status", host), command)
	case end.Fields[run.FieldReason] == run.ReasonWritten:
		return next.Say("%s, then run: %s", next.Target("lock"), command)
	case end.Fields[run.FieldStage] == run.StageBuild:
		return next.Say("correct nix/ where the log above points to, then run: %s", command)
	}
	return command
}

func outcomeOf(c Code) Outcome {
	switch c {
	case CodeDone:
		return OutcomeNothing
	case CodeUsage, CodeFailed:
		return OutcomeFailed
	case CodeRolledBack:
		return OutcomeRolledBack
	case CodeUnreachable:
		return OutcomeUnreachable
	case CodeBusy:
		return OutcomeBusy
	}
	return OutcomeUnknown
}

// failed makes err the result.
func (r *Result) failed(err error) {
	r.Err, r.Outcome = err, outcomeOf(codeOf(err))
}

// give makes err, with which following ended, the result.
func (j *job) give(r *Result, f *run.Follower, err error) {
	var not *run.NotStartedError
	switch {
	case !errors.As(err, &not):
		j.unsure(r, f, err)
	case not.Lost:
		r.failed(&Failure{Host: j.host.Name, Code: CodeUnreachable, Err: err, Now: asItWas, Next: j.command})
	default:
		r.failed(&Failure{Host: j.host.Name, Code: CodeFailed, Err: err, Now: asItWas})
	}
}

// unsure is the result when the run went out of sight. It goes on without us.
func (j *job) unsure(r *Result, f *run.Follower, err error) {
	again := j.command
	if j.o.Healthy != nil {
		again = next.Words("the same call") // the target does not know the check, and would confirm without it
	}
	r.failed(&Failure{Host: j.host.Name, Code: CodeUnknown, Err: err, Now: prospects(f.Seen()),
		Next: next.Say("%s resumes it, %s shows it, %s cancels it",
			again, next.Target("status", j.host.Name), next.Target("rollback", j.host.Name))})
}

// prospects says what becomes of a run without us, as far as it was seen.
func prospects(s run.Seen) string {
	switch {
	case s.Phase == run.PhaseCommitting:
		return "the run goes on: it was committing the new system, which then stays"
	case s.Phase == run.PhaseRollingBack || s.Phase == run.PhaseRebooting:
		return "the run goes on: it was going back to the old system"
	case !s.Action.Activates():
		return "the run goes on, and ends by itself"
	case s.Confirm == 0:
		return "the run goes on without a watchdog: what it switches to stays"
	case !s.Armed:
		return "the run goes on; unless somebody confirms it after the switch, it is rolled back by itself"
	}
	by := s.Heard.Add(s.Confirm + s.Switch)
	return fmt.Sprintf("the run goes on; unconfirmed, it is rolled back by %s at the latest", by.Format("15:04:05"))
}
