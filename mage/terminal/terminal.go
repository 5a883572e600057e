// Package terminal shows a person what workflows do, and asks what only a person
// can decide. It is the [deploy.Observer] of the targets; use it for your own:
//
//	project, err := deploy.Open(".", terminal.New(os.Stdin, os.Stdout, os.Stderr))
//	…
//	return terminal.Explain(err)
package terminal

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/term"
)

// Terminal is three streams that a person may be at. What happens goes to stderr;
// questions are answered on stdin, if both are terminals.
type Terminal struct{ o *term.Observer }

// New makes a terminal of three streams. A command line passes os.Stdin, os.Stdout
// and os.Stderr.
func New(stdin io.Reader, stdout, stderr io.Writer) *Terminal {
	return On(term.New(stdin, stdout, stderr))
}

// On is for the targets, which write tables on the same terminal.
func On(ui *term.UI) *Terminal { return &Terminal{ui.Observer()} }

// Observe shows what happens.
func (t *Terminal) Observe(e deploy.Event) {
	text := cmp.Or(Outcome(e.Outcome), e.Text)
	t.o.Observe(observe.Event{Kind: observe.Kind(e.Kind), Host: e.Host, Text: text, Data: e.Data, Hosts: e.Hosts, Err: e.Err})
}

// Interactive says whether stdin and stderr are terminals.
func (t *Terminal) Interactive() bool { return t.o.Interactive() }

// Ask asks.
func (t *Terminal) Ask(ctx context.Context, q deploy.Question) (string, error) {
	return t.o.Ask(ctx, observe.Question{Want: observe.Want(q.Want), Text: q.Text, Word: q.Word})
}

// Explain gives an error of a workflow the form in which a person shall read it:
// what failed, the state that things are in, and what to do next, for each of
// several hosts. mage prints only an error's own text: a target of your own
// returns Explain(err). The exit status stays; nil stays nil.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	told := []error{err}
	var fleet *deploy.FleetError
	if errors.As(err, &fleet) {
		told = fleet.Errs
	}
	var b strings.Builder
	ui := term.New(strings.NewReader(""), io.Discard, &b, term.WithEnv(func(string) string { return "" }))
	for _, one := range told {
		ui.Error(one)
	}
	text := strings.TrimPrefix(strings.TrimSpace(b.String()), "error: ")
	if fleet != nil {
		text += "\n" + err.Error()
	}
	return explained{err: err, text: text}
}

type explained struct {
	err  error
	text string
}

func (e explained) Error() string   { return e.text }
func (e explained) Unwrap() error   { return e.err }
func (e explained) ExitStatus() int { return deploy.ExitStatus(e.err) }
