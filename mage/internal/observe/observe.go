// Package observe is what workflows tell and ask, whoever listens: a terminal, a
// log, a test, nobody.
package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Kind says what an event is.
type Kind int

// The kinds. A display is a group of hosts that work side by side: it begins with
// their names, and ends.
const (
	Info    Kind = iota // what happens
	Warning             // what may become a problem
	Success             // what went well
	Begin               // a display; Hosts are its names
	Phase               // what a host does now, in a word or two
	Output              // what a host printed; Data, cut anywhere
	Done                // a host is done; Outcome or Text says how
	End                 // of a display
)

// Event is something that happened.
type Event struct {
	Kind  Kind
	Host  string // "" where it is about no host
	Text  string
	Data  []byte
	Hosts []string
	Err   error

	Outcome string // a word for programs
}

// Want says what sort of an answer a question has.
type Want int

// The answers.
const (
	YesOrNo Want = iota // "yes" or anything else
	Word                // a word to be typed, which is in Word
	Text                // a line of text
	Secret              // a line that is not shown
)

// Question is something that only a person can decide.
type Question struct {
	Want Want
	Text string
	Word string
}

// ErrNobody is wrapped by the error of a question that nobody can answer.
var ErrNobody = errors.New("nobody can be asked")

// Observer hears what happens, and answers. Its methods are called by several
// goroutines.
type Observer interface {
	Observe(Event)
	// Interactive says whether somebody can answer.
	Interactive() bool
	Ask(ctx context.Context, q Question) (string, error)
}

// Silent tells nobody, and answers nothing.
type Silent struct{}

// Observe drops the event.
func (Silent) Observe(Event) {}

// Interactive is false.
func (Silent) Interactive() bool { return false }

// Ask is refused with [ErrNobody].
func (Silent) Ask(_ context.Context, q Question) (string, error) {
	return "", fmt.Errorf("cannot ask %q: %w", q.Text, ErrNobody)
}

// Log is what a workflow talks to.
type Log struct{ Observer }

// To is a log that an observer hears; nil is nobody.
func To(o Observer) *Log {
	if o == nil {
		o = Silent{}
	}
	return &Log{o}
}

// Info tells what happens.
func (l *Log) Info(format string, args ...any) { l.say(Info, format, args) }

// Warn tells what may become a problem.
func (l *Log) Warn(format string, args ...any) { l.say(Warning, format, args) }

// Success tells what went well.
func (l *Log) Success(format string, args ...any) { l.say(Success, format, args) }

func (l *Log) say(k Kind, format string, args []any) {
	l.Observe(Event{Kind: k, Text: fmt.Sprintf(format, args...)})
}

// Confirm asks a question that is answered with yes or no.
func (l *Log) Confirm(ctx context.Context, question string) (bool, error) {
	answer, err := l.Ask(ctx, Question{Want: YesOrNo, Text: question})
	return err == nil && answer == "yes", err
}

// AskTyped asks for a word to be typed. Any other answer is a no.
func (l *Log) AskTyped(ctx context.Context, question, word string) (bool, error) {
	answer, err := l.Ask(ctx, Question{Want: Word, Text: question, Word: word})
	return err == nil && answer == word, err
}

// Line asks for a line of text, which may be empty; [io.EOF] is no answer.
func (l *Log) Line(ctx context.Context, question string) (string, error) {
	return l.Ask(ctx, Question{Want: Text, Text: question})
}

// Password asks for a text that is not shown while it is typed.
func (l *Log) Password(ctx context.Context, question string) ([]byte, error) {
	answer, err := l.Ask(ctx, Question{Want: Secret, Text: question})
	return []byte(answer), err
}

// Display tells of hosts that work side by side.
type Display struct {
	log  *Log
	once sync.Once
}

// Progress begins a display of the named hosts.
func (l *Log) Progress(hosts ...string) *Display {
	l.Observe(Event{Kind: Begin, Hosts: hosts})
	return &Display{log: l}
}

// Host begins to tell of one host.
func (d *Display) Host(name string) *Line { return &Line{log: d.log, name: name} }

// Close ends the display. It can be called twice.
func (d *Display) Close() { d.once.Do(func() { d.log.Observe(Event{Kind: End}) }) }

// Line tells of one host. It is an [io.Writer] for the host's output.
type Line struct {
	log  *Log
	name string
}

var _ io.Writer = (*Line)(nil)

// Phase tells what the host does now, in a word or two.
func (l *Line) Phase(name string) { l.log.Observe(Event{Kind: Phase, Host: l.name, Text: name}) }

// Output takes output of the host, cut anywhere.
func (l *Line) Output(p []byte) {
	l.log.Observe(Event{Kind: Output, Host: l.name, Data: bytes.Clone(p)})
}

// Write is Output; it never fails.
func (l *Line) Write(p []byte) (int, error) {
	l.Output(p)
	return len(p), nil
}

// Done tells the outcome. An empty one is "done", or "failed" if there is an error.
func (l *Line) Done(outcome string, err error) {
	l.Ended("", outcome, err)
}

// Ended tells the outcome by a word for programs, for which whoever shows it has a
// text, or else by a text.
func (l *Line) Ended(outcome, text string, err error) {
	l.log.Observe(Event{Kind: Done, Host: l.name, Text: strings.TrimSpace(text), Err: err, Outcome: outcome})
}
