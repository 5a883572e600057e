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
	Host   string        `json:"host"`
	Result string        `json:"result"` // for a person: "updated", "nothing to do", …
	Before int           `json:"before"` // generation
	After  int           `json:"after"`
	Time   time.Duration `json:"-"`
	Kept   string        `json:"kept,omitempty"` // where foreign files were kept on the server
	Log    string        `json:"log,omitempty"`  // where the log of the run is kept here, in the project
	Err    error         `json:"-"`
}

// success names the good ends.
var success = map[run.Result]string{
	run.ResultCommitted: "updated",
	run.ResultTested:    "active until reboot",
	run.ResultBuilt:     "built",
	run.ResultDry:       "dry run",
}

// conclude turns the end of a run into the result of a host.
func (r *Result) conclude(host string, command next.Step, end run.Status) {
	if text, ok := success[end.Result()]; ok {
		r.Result = text
		r.Kept = end.Fields["kept"]
		if n, err := strconv.Atoi(end.Fields["generation"]); err == nil {
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
	r.Err, r.Result = f, resultWord(f.Code)
}

func endText(end run.Status) string {
	text := end.Message
	if text == "" {
		text = "the run ended as " + string(end.Result())
	}
	if code := end.Fields["code"]; code != "" && end.Fields["reason"] == "" && end.Message == "" {
		text += " (exit code " + code + ")"
	}
	return text
}

// busyNext: only another run can be cancelled.
func busyNext(host string, command next.Step, end run.Status) next.Step {
	if end.Fields["reason"] != "" {
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
	case end.Fields["reason"] == "reboot":
		return next.Say("%s, then reboot the server", forNextBoot(command))
	case end.Fields["reason"] == "full":
		return next.Say("free some of it on the server (nix-collect-garbage --delete-older-than 14d removes old generations), then run: %s", command)
	case end.Fields["reason"] == "boot":
		return next.Say("remove what /boot on the server does not need (old generations, for one), then run: %s", command)
	case end.Fields["reason"] == "mount":
		return next.Say("unmount it on the server, and mount it elsewhere, then run: %s", command)
	case end.Fields["reason"] == "unswitchable":
		return next.Say("remove system.switch.enable = false from nix/, then run: %s", command)
	case end.Fields["reason"] == "lacking":
		return next.Say("add them to environment.systemPackages on the server itself, by nixos-rebuild, then run: %s", command)
	case end.Fields["reason"] == "stuck":
		return next.Say("%s, correct there what that run's log names (most often space in /boot or /var), then run: %s",
			next.Target("status", host), command)
	case end.Fields["reason"] == "written":
		return next.Say("%s, then run: %s", next.Target("lock"), command)
	case end.Fields["stage"] == "build":
		return next.Say("correct nix/ where the log above points to, then run: %s", command)
	}
	return command
}

func resultWord(c Code) string {
	switch c {
	case CodeDone:
		return "nothing to do"
	case CodeUsage, CodeFailed:
		return "failed"
	case CodeRolledBack:
		return "rolled back"
	case CodeUnreachable:
		return "unreachable"
	case CodeBusy:
		return "busy"
	}
	return "unknown"
}

// failed makes err the result.
func (r *Result) failed(err error) {
	r.Err, r.Result = err, resultWord(codeOf(err))
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
	r.failed(&Failure{Host: j.host.Name, Code: CodeUnknown, Err: err, Now: prospects(f.Seen()),
		Next: next.Say("%s resumes it, %s shows it, %s cancels it",
			j.command, next.Target("status", j.host.Name), next.Target("rollback", j.host.Name))})
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
