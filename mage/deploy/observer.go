package deploy

import (
	"context"

	"github.com/dagadbm/vps/mage/internal/observe"
)

// Observer hears what workflows do, and decides what only a person can decide. Its
// methods are called by several goroutines at once.
type Observer interface {
	Observe(Event)
	// Interactive says whether questions can be answered. Where they cannot, what
	// needs a person is refused before anything has changed.
	Interactive() bool
	// Ask decides. An error ends the workflow; [ErrNobody] says that there is
	// nobody to decide.
	Ask(ctx context.Context, q Question) (answer string, err error)
}

// Event is something that a workflow tells.
type Event struct {
	Kind  EventKind
	Host  string   // "" where it is about no host
	Text  string   // may hold what a server said: clean it before a terminal shows it
	Data  []byte   // of EventOutput: what the server printed, cut anywhere
	Hosts []string // of EventBegin: the hosts that work side by side from now on
	Err   error    // of EventDone: why it did not go well

	// Outcome is of EventDone. It is empty where what a host does has none: then Text
	// tells what was seen or done.
	Outcome Outcome
}

// EventKind says what an event is.
type EventKind int

// The kinds of events.
const (
	EventInfo    = EventKind(observe.Info)    // what happens
	EventWarning = EventKind(observe.Warning) // what may become a problem
	EventSuccess = EventKind(observe.Success) // what went well
	EventBegin   = EventKind(observe.Begin)   // hosts begin to work side by side
	EventPhase   = EventKind(observe.Phase)   // what a host does now, in a word or two
	EventOutput  = EventKind(observe.Output)  // what a host printed
	EventDone    = EventKind(observe.Done)    // a host is done
	EventEnd     = EventKind(observe.End)     // all that began together is done
)

// Question is something that only a person can decide.
type Question struct {
	Want Want
	Text string
	Word string // of WantWord: what has to be typed
}

// Want says what sort of an answer a question has.
type Want int

// The answers.
const (
	WantYesOrNo = Want(observe.YesOrNo) // "yes" is a yes, all else is a no
	WantWord    = Want(observe.Word)    // the word is a yes, all else is a no
	WantText    = Want(observe.Text)    // a line of text
	WantSecret  = Want(observe.Secret)  // a line that is not shown while it is typed
)

// ErrNobody is wrapped by the error of a question that nobody can answer.
var ErrNobody = observe.ErrNobody

// told is an Observer as the packages below know one.
type told struct{ o Observer }

func (t told) Observe(e observe.Event) {
	t.o.Observe(Event{Kind: EventKind(e.Kind), Host: e.Host, Text: e.Text, Data: e.Data, Hosts: e.Hosts, Err: e.Err, Outcome: Outcome(e.Outcome)})
}

func (t told) Interactive() bool { return t.o.Interactive() }

func (t told) Ask(ctx context.Context, q observe.Question) (string, error) {
	return t.o.Ask(ctx, Question{Want: Want(q.Want), Text: q.Text, Word: q.Word})
}

// logTo is the log that an observer hears; nil hears nothing and decides nothing.
func logTo(o Observer) *observe.Log {
	if o == nil {
		return observe.To(nil)
	}
	return observe.To(told{o})
}
