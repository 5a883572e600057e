package run

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// Deadlines limit what a run does after its build. They are whole seconds on the
// server.
type Deadlines struct {
	Confirm time.Duration // how long a switched system waits to be confirmed; 0: no watchdog
	Switch  time.Duration // how long the switch itself may take
	Settle  time.Duration // how long units are watched before confirming
}

// Observer is told what happens in a run, in order.
type Observer interface {
	Phase(text string)   // what the run does now, in a few words
	Output(lines []byte) // of the run's log, cut anywhere
}

// Follower watches one run to its end: it shows the log, confirms the new system
// over a login of its own, and reconnects when the link drops.
type Follower struct {
	link   *Link
	id     string
	story  *story
	action Action
	limits Deadlines

	// Known are the programs that the server lacked before the run: their lack is no
	// reason to go back.
	Known []string

	// Healthy is the caller's own check of a new system, over the login that is to
	// confirm it. Its error makes the server roll back. It is called again where that
	// login breaks. Nil is no check.
	Healthy func(context.Context, Conn) error

	watchOnly bool     // do not confirm: the run shall be undone
	first     *Session // over the connection that the run was started over

	overdue  *time.Timer // a server that never tells of the end is not waited for any longer
	switched bool        // the switch had begun when the timer was last set

	seen       int   // status lines read so far, over all connections
	offset     int64 // bytes of the log read so far
	last       Status
	heard      time.Time // when that came
	end        *Status
	gone       bool                  // the supervisor died
	life       context.Context       // of the whole following; a connection's is shorter
	confirming chan error            // the verdict of the verification that runs, if one does
	refused    error                 // why there was no verdict, so that the run was cancelled
	built      Built                 // what the new system says of itself
	port       atomic.Int32          // where the new system let us in; 0: not yet
	sick       atomic.Pointer[error] // what the caller's check found
	logins     atomic.Int32          // failed logins: fail2ban and sshd punish more than a few
}

// NewFollower makes a follower of the run id. Nothing happens until it is told to.
func NewFollower(l *Link, id string, action Action, limits Deadlines, o Observer) *Follower {
	return &Follower{link: l, id: id, action: action, limits: limits, story: &story{to: o}}
}

// ID names the
func (f *Follower) ID() string { return f.id }

// longest is how long a server can make us believe that a run of ours may take.
const longest = 24 * time.Hour

// Of makes a follower of a run that was begun before, by the deadlines that it was
// begun with: it keeps those, whatever the flags say now.
func (f *Follower) Of(h *Holder) *Follower {
	g := NewFollower(f.link, h.ID, Action(h.Action), f.limits, f.story.to)
	if h.SwitchTimeout > 0 { // else it was begun by an older version
		g.limits.Confirm, g.limits.Switch = min(h.Confirm, longest), min(h.SwitchTimeout, longest)
	}
	g.limits.Settle = min(f.limits.Settle, g.limits.Confirm/2)
	g.Known, g.Healthy = f.Known, f.Healthy
	return g
}

// Begin sends a parcel, starts its run and follows it. An error that is a
// [*NotStartedError] says that the run did not start; any other leaves it open.
func (f *Follower) Begin(ctx context.Context, first *Session, c Parcel) (Status, error) {
	err := f.link.start(ctx, first, c)
	if err == nil {
		f.first = first
		return f.Follow(ctx)
	}
	first.Stop()
	if errors.As(err, new(*NotStartedError)) {
		return Status{}, err
	}
	if ctx.Err() != nil {
		return Status{}, context.Cause(ctx)
	}
	if again := f.reconnect(ctx); again != nil {
		return Status{}, errors.Join(ErrUnsure, again, err)
	}
	if f.link.forget(ctx, f.id) {
		return Status{}, &NotStartedError{Err: err, Lost: true}
	}
	return f.Follow(ctx)
}

// Resume follows a run that is there already, by a session that took orders so far.
func (f *Follower) Resume(ctx context.Context, s *Session) (Status, error) {
	s.order(orderFollow, f.id, "0")
	s.show()
	f.first = s
	return f.Follow(ctx)
}

// Cancel makes a run that waits to be confirmed roll back, and follows it to its end.
func (f *Follower) Cancel(ctx context.Context, s *Session, why string) (Status, error) {
	f.watchOnly = true
	s.order(orderFollow, f.id, "0")
	s.order(orderCancel, oneLine(why))
	s.show()
	f.first = s
	return f.Follow(ctx)
}

// ErrUnsure is the end of following without having seen the run's end.
var ErrUnsure = errors.New("lost sight of the run")

// maxStalls is how often in a row looking at a run may end at once, with nothing
// seen, on a connection that works.
const maxStalls = 6

var errStalled = errors.New("the server ends every look at the run at once")

// Follow returns the run's last status line. Interrupting it leaves the run going.
func (f *Follower) Follow(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithCancel(ctx)
	f.life = ctx
	f.overdue = time.NewTimer(f.link.Bounds.buildWithin())
	defer func() {
		cancel()
		f.overdue.Stop()
		if f.confirming != nil {
			<-f.confirming
		}
		f.story.flush()
	}()
	wait, stalls := NewBackoff(), 0
	for {
		seen, began := f.progress(), time.Now()
		err := f.watch(ctx)
		if f.end != nil {
			return f.conclusion(), nil
		}
		if ctx.Err() != nil {
			return f.last, context.Cause(ctx)
		}
		if errors.As(err, new(*SilentError)) {
			return f.last, errors.Join(ErrUnsure, err)
		}
		if f.progress() != seen || time.Since(began) > wait.max {
			wait, stalls = NewBackoff(), 0
		} else if stalls++; stalls == maxStalls {
			return f.last, errors.Join(ErrUnsure, errStalled, err)
		} else if wait.Wait(ctx) != nil {
			return f.last, context.Cause(ctx)
		}
		f.say("reconnecting")
		if again := f.reconnect(ctx); again != nil {
			return f.last, errors.Join(ErrUnsure, again, err)
		}
	}
}

// Seen is how far a run was when it went out of sight.
type Seen struct {
	Deadlines
	Action Action
	Phase  string // "" before the first
	Armed  bool   // it was past the build, so its own deadlines end it
	Heard  time.Time
}

// Seen is how far the run was when it was last heard of.
func (f *Follower) Seen() Seen {
	return Seen{Deadlines: f.limits, Action: f.action, Phase: f.last.Phase, Armed: f.armed(), Heard: f.heard}
}

// say tells what this side does, after the phase that the run is in.
func (f *Follower) say(text string) {
	if f.last.Phase != "" {
		text = f.last.Phase + ": " + text
	}
	f.story.now(text)
}

// progress is how much of the run was seen.
func (f *Follower) progress() int64 { return f.offset + int64(f.seen) }

// deadline is what overdue was set to.
func (f *Follower) deadline() time.Duration {
	if f.switched {
		return f.limits.Switch + f.limits.Confirm + f.link.Bounds.rollbackMargin()
	}
	return f.link.Bounds.buildWithin()
}

// switching starts the time that is left once a run switches: its own deadlines
// end it, whatever else the server says.
func (f *Follower) switching() {
	if !f.switched {
		f.switched = true
		f.overdue.Reset(f.deadline())
	}
}

// Instead follows the run that kept ours out, if that is ours too: the run of a
// client that was killed may begin after the next one has looked who is there.
func (f *Follower) Instead(ctx context.Context, end Status, err error, ours func(*Holder) bool) (*Follower, Status, error) {
	if err != nil || end.Result() != ResultBusy {
		return f, end, err
	}
	facts, asked := f.link.Facts(ctx, FactsQuery{})
	if asked != nil || facts.Holder == nil || !ours(facts.Holder) {
		return f, end, err
	}
	f.story.now("taking up run " + facts.Holder.ID)
	g := f.Of(facts.Holder)
	end, err = g.Follow(ctx)
	return g, end, err
}

// watch follows over the present connection until the run ends or the
// connection does.
func (f *Follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := f.first
	if f.first = nil; s == nil {
		s = f.link.session(ctx, f.link.Shell.Follow(f.id, f.offset))
		s.show()
	}
	defer s.Stop()
	index := 0
	late := time.NewTicker(maxLag)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.overdue.C:
			return silent("end the run", f.deadline())
		case <-late.C:
			f.story.overdue(time.Now())
		case err := <-f.confirming:
			f.confirming = nil
			f.judged(ctx, s, err)
		case e := <-s.events:
			if e.err != nil {
				return fmt.Errorf("follow run %s: %w", f.id, e.err)
			}
			f.take(e, &index)
			s.enough.Store(f.offset >= f.link.Bounds.maxLog())
		}
		if f.complete() {
			return nil
		}
	}
}

// complete: the end was seen, and all of the log that was written before it.
func (f *Follower) complete() bool {
	if f.end == nil {
		return false
	}
	size, err := strconv.ParseInt(f.end.Fields[fieldLog], 10, 64)
	return err != nil || f.offset >= min(size, f.link.Bounds.maxLog())
}

// take handles one event. A new connection begins with the status lines that
// were seen already.
func (f *Follower) take(e event, index *int) {
	if e.log != nil {
		f.offset += int64(len(e.log))
		f.story.log(e.log)
		return
	}
	s, err := ParseStatus(e.status)
	if err != nil || s.Phase == "" {
		return // a stray line is not worth losing sight of a run
	}
	if s.Phase == PhaseGone {
		f.lost(s.Fields[fieldArmed] != "", s.Message)
		return
	}
	// A power cut may have taken lines that were seen before it: the end stands
	// where one of them stood, and counts.
	if *index++; *index <= f.seen && !s.End() {
		return
	}
	f.seen = *index
	f.arrived(s, e.status)
}

func (f *Follower) arrived(s Status, line string) {
	if s.End() {
		f.end = &s
		f.overdue.Reset(f.link.Bounds.answerWithin()) // for the rest of the log
		return
	}
	f.last, f.heard = s, time.Now()
	if f.armed() {
		f.switching()
	}
	if s.Phase != PhaseBuilt || s.Fields[FieldSystem] != "" {
		f.story.phase(line, s.Text())
	} else {
		f.built.add(s.Built())
	}
	if s.Phase == PhaseConfirming && f.confirming == nil && !f.watchOnly {
		f.confirming = make(chan error, 1)
		go func(verdict chan<- error, built Built) { verdict <- f.verify(f.life, built) }(f.confirming, f.built)
	}
}

// armed: the run is past the build, so its own deadlines end it.
func (f *Follower) armed() bool {
	switch f.last.Phase {
	case "", PhaseStaging, PhaseBuilding, PhaseBuilt:
		return false
	}
	return true
}

// lost handles the death of the supervisor. Before the switch that ends the run;
// afterwards the watchdog, which is a unit of its own, will end it.
// Its word overtakes status lines, so whether the switch had begun is in it, and the
// last that it said.
func (f *Follower) lost(armed bool, last string) {
	f.gone = true
	if armed || f.armed() {
		f.switching()
		f.story.now("the supervisor died; waiting for the watchdog")
		return
	}
	if f.end == nil {
		message := "the supervisor died before it changed anything"
		if last != "" {
			message += ": " + oneLine(last)
		}
		f.end = &Status{Phase: PhaseEnd, Message: message,
			Fields: map[string]string{FieldResult: string(ResultFailed), FieldReason: ReasonCrash}}
	}
}
