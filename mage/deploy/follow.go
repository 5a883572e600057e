package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
)

// follower watches one run to its end: it shows the log, confirms the new system
// over a login of its own, and reconnects when the link drops.
type follower struct {
	link    *link
	id      string
	line    *observe.Line
	action  run.Action
	confirm time.Duration
	limit   time.Duration // of the switch
	settle  time.Duration

	watchOnly bool   // do not confirm: the run shall be undone
	first     *sight // over the connection that the run was started over

	overdue  *time.Timer // a server that never tells of the end is not waited for any longer
	switched bool        // the switch had begun when the timer was last set

	seen       int   // status lines read so far, over all connections
	offset     int64 // bytes of the log read so far
	last       run.Status
	heard      time.Time // when that came
	end        *run.Status
	gone       bool            // the supervisor died
	life       context.Context // of the whole following; a connection's is shorter
	confirming chan error      // the verdict of the verification that runs, if one does
	refused    error           // why there was no verdict, so that the run was cancelled
	logins     atomic.Int32    // failed logins: fail2ban and sshd punish more than a few
}

// longest is how long a server can make us believe that a run of ours may take.
const longest = 24 * time.Hour

// of makes a follower of a run that was begun before, by the deadlines that it was
// begun with: it keeps those, whatever the flags say now.
func (f *follower) of(h *run.Holder) *follower {
	g := &follower{link: f.link, id: h.ID, line: f.line, action: run.Action(h.Action), confirm: f.confirm, limit: f.limit}
	if h.SwitchTimeout > 0 { // else it was begun by an older version
		g.confirm, g.limit = min(h.Confirm, longest), min(h.SwitchTimeout, longest)
	}
	g.settle = min(f.settle, g.confirm/2)
	return g
}

// begin sends a parcel, starts its run and follows it. An error that is a
// [*Failure] says that the run did not start; any other leaves it open.
func (f *follower) begin(ctx context.Context, first *sight, c parcel) (run.Status, error) {
	err := f.link.start(ctx, first, c)
	if err == nil {
		f.first = first
		return f.follow(ctx)
	}
	first.stop()
	if errors.As(err, new(*Failure)) {
		return run.Status{}, err
	}
	if ctx.Err() != nil {
		return run.Status{}, context.Cause(ctx)
	}
	if again := f.reconnect(ctx); again != nil {
		return run.Status{}, errors.Join(errUnsure, again, err)
	}
	if f.link.forget(ctx, f.id) {
		return run.Status{}, &Failure{Host: f.link.host.Name, Code: CodeUnreachable, Err: err, Now: asItWas, Next: next.Words("run it again")}
	}
	return f.follow(ctx)
}

// errUnsure is the end of following without having seen the run's end.
var errUnsure = errors.New("lost sight of the run")

// maxStalls is how often in a row looking at a run may end at once, with nothing
// seen, on a connection that works.
const maxStalls = 6

var errStalled = errors.New("the server ends every look at the run at once")

// follow returns the run's last status line. Interrupting it leaves the run going.
func (f *follower) follow(ctx context.Context) (run.Status, error) {
	ctx, cancel := context.WithCancel(ctx)
	f.life = ctx
	f.overdue = time.NewTimer(f.link.p.bounds.buildWithin())
	defer func() {
		cancel()
		f.overdue.Stop()
		if f.confirming != nil {
			<-f.confirming
		}
	}()
	wait, stalls := newBackoff(), 0
	for {
		seen, began := f.progress(), time.Now()
		err := f.watch(ctx)
		if f.end != nil {
			return f.conclusion(), nil
		}
		if ctx.Err() != nil {
			return f.last, context.Cause(ctx)
		}
		if errors.As(err, new(*silentError)) {
			return f.last, errors.Join(errUnsure, err)
		}
		if f.progress() != seen || time.Since(began) > wait.max {
			wait, stalls = newBackoff(), 0
		} else if stalls++; stalls == maxStalls {
			return f.last, errors.Join(errUnsure, errStalled, err)
		} else if wait.wait(ctx) != nil {
			return f.last, context.Cause(ctx)
		}
		f.line.Phase(f.last.Phase + ": reconnecting")
		if again := f.reconnect(ctx); again != nil {
			return f.last, errors.Join(errUnsure, again, err)
		}
	}
}

// progress is how much of the run was seen.
func (f *follower) progress() int64 { return f.offset + int64(f.seen) }

// deadline is what overdue was set to.
func (f *follower) deadline() time.Duration {
	if f.switched {
		return f.limit + f.confirm + f.link.p.bounds.rollbackMargin()
	}
	return f.link.p.bounds.buildWithin()
}

// switching starts the time that is left once a run switches: its own deadlines
// end it, whatever else the server says.
func (f *follower) switching() {
	if !f.switched {
		f.switched = true
		f.overdue.Reset(f.deadline())
	}
}

// instead follows the run that kept ours out, if that is ours too: the run of a
// client that was killed may begin after the next one has looked who is there.
func (f *follower) instead(ctx context.Context, end run.Status, err error, ours func(*run.Holder) bool) (*follower, run.Status, error) {
	if err != nil || end.Result() != run.ResultBusy {
		return f, end, err
	}
	facts, asked := f.link.facts(ctx, run.FactsQuery{})
	if asked != nil || facts.Holder == nil || !ours(facts.Holder) {
		return f, end, err
	}
	f.line.Phase("taking up run " + facts.Holder.ID)
	g := f.of(facts.Holder)
	end, err = g.follow(ctx)
	return g, end, err
}

// watch follows over the present connection until the run ends or the
// connection does.
func (f *follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := f.first
	if f.first = nil; s == nil {
		s = f.link.sightOf(ctx, f.id, f.offset)
	}
	defer s.stop()
	index := 0
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.overdue.C:
			return silent("end the run", f.deadline())
		case err := <-f.confirming:
			f.confirming = nil
			f.judged(ctx, err)
		case e := <-s.events:
			if e.err != nil {
				return fmt.Errorf("follow run %s: %w", f.id, e.err)
			}
			f.take(e, &index)
			s.enough.Store(f.offset >= f.link.p.bounds.maxLog())
		}
		if f.complete() {
			return nil
		}
	}
}

// complete: the end was seen, and all of the log that was written before it.
func (f *follower) complete() bool {
	if f.end == nil {
		return false
	}
	size, err := strconv.ParseInt(f.end.Fields["log"], 10, 64)
	return err != nil || f.offset >= min(size, f.link.p.bounds.maxLog())
}

// take handles one event. A new connection begins with the status lines that
// were seen already.
func (f *follower) take(e event, index *int) {
	if e.log != nil {
		f.offset += int64(len(e.log))
		f.line.Output(e.log)
		return
	}
	s, err := run.ParseStatus(e.status)
	if err != nil || s.Phase == "" {
		return // a stray line is not worth losing sight of a run
	}
	if s.Phase == run.PhaseGone {
		f.lost(s.Fields["armed"] != "")
		return
	}
	// A power cut may have taken lines that were seen before it: the end stands
	// where one of them stood, and counts.
	if *index++; *index <= f.seen && !s.End() {
		return
	}
	f.seen = *index
	f.arrived(s)
}

func (f *follower) arrived(s run.Status) {
	if s.End() {
		f.end = &s
		f.overdue.Reset(f.link.p.bounds.answerWithin()) // for the rest of the log
		return
	}
	f.last, f.heard = s, time.Now()
	if f.armed() {
		f.switching()
	}
	text := s.Phase
	if s.Message != "" {
		text += ": " + s.Message
	}
	f.line.Phase(text)
	if s.Phase == run.PhaseConfirming && f.confirming == nil && !f.watchOnly {
		f.confirming = make(chan error, 1)
		go func(verdict chan<- error) { verdict <- f.verify(f.life) }(f.confirming)
	}
}

// armed: the run is past the build, so its own deadlines end it.
func (f *follower) armed() bool {
	switch f.last.Phase {
	case "", run.PhaseStaging, run.PhaseBuilding, run.PhaseBuilt:
		return false
	}
	return true
}

// lost handles the death of the supervisor. Before the switch that ends the run;
// afterwards the watchdog, which is a unit of its own, will end it.
// Its word overtakes status lines, so whether the switch had begun is in it.
func (f *follower) lost(armed bool) {
	f.gone = true
	if armed || f.armed() {
		f.switching()
		f.line.Phase("the supervisor died; waiting for the watchdog")
		return
	}
	if f.end == nil {
		f.end = &run.Status{Phase: run.PhaseEnd, Message: "the supervisor died before it changed anything",
			Fields: map[string]string{"result": string(run.ResultFailed), "reason": "crash"}}
	}
}
