package term

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/dagadbm/vps/mage/internal/observe"
)

// Observer shows a person what workflows do, and asks.
type Observer struct {
	ui *UI

	mu       sync.Mutex
	displays []Progress
	lines    map[string]*Line
}

var _ observe.Observer = (*Observer)(nil)

// Observer is the person of a UI, as workflows know them.
func (u *UI) Observer() *Observer { return &Observer{ui: u, lines: map[string]*Line{}} }

// Observe shows what happens.
func (o *Observer) Observe(e observe.Event) {
	switch e.Kind {
	case observe.Info:
		o.ui.Info("%s", e.Text)
	case observe.Warning:
		o.ui.Warn("%s", e.Text)
	case observe.Success:
		o.ui.Success("%s", e.Text)
	case observe.Begin:
		o.begin(e.Hosts)
	case observe.End:
		o.end()
	case observe.Phase:
		o.line(e.Host).Phase(e.Text)
	case observe.Output:
		o.line(e.Host).Output(e.Data)
	case observe.Done:
		o.line(e.Host).Done(e.Text, e.Err)
		o.forget(e.Host)
	}
}

func (o *Observer) begin(hosts []string) {
	display := o.ui.Progress(hosts...)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.displays = append(o.displays, display)
}

func (o *Observer) end() {
	o.mu.Lock()
	last := len(o.displays) - 1
	if last < 0 {
		o.mu.Unlock()
		return
	}
	display := o.displays[last]
	o.displays = o.displays[:last]
	if last == 0 {
		clear(o.lines)
	}
	o.mu.Unlock()
	display.Close()
}

// line is that of a host, in the display that began last.
func (o *Observer) line(host string) *Line {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l, ok := o.lines[host]; ok {
		return l
	}
	if len(o.displays) == 0 {
		o.displays = append(o.displays, o.ui.Progress(host))
	}
	l := o.displays[len(o.displays)-1].Host(host)
	o.lines[host] = l
	return l
}

func (o *Observer) forget(host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.lines, host)
}

// Interactive says whether stdin and stderr are terminals.
func (o *Observer) Interactive() bool { return o.ui.Interactive() }

// Ask asks.
func (o *Observer) Ask(ctx context.Context, q observe.Question) (string, error) {
	switch q.Want {
	case observe.YesOrNo:
		ok, err := o.ui.Confirm(ctx, q.Text)
		return answered(ok, "yes", err)
	case observe.Word:
		ok, err := o.ui.AskTyped(ctx, q.Text, q.Word)
		return answered(ok, q.Word, err)
	case observe.Secret:
		secret, err := o.ui.Password(ctx, q.Text)
		return string(secret), nobody(err)
	default:
		text, err := o.ui.Line(ctx, q.Text)
		return text, nobody(err)
	}
}

func answered(ok bool, yes string, err error) (string, error) {
	if ok {
		return yes, nobody(err)
	}
	return "", nobody(err)
}

// nobody gives the want of a terminal the name that workflows know.
func nobody(err error) error {
	if errors.Is(err, ErrNoTerminal) {
		return fmt.Errorf("%w: %w", err, observe.ErrNobody)
	}
	return err
}
