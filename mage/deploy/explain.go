package deploy

import (
	"errors"
	"io"
	"strings"

	"github.com/dagadbm/vps/mage/internal/term"
)

// Explain gives an error of a workflow the form in which a person shall read it:
// what failed, the state that things are in, and what to do next, for each of
// several hosts. mage prints only an error's own text: a target of your own
// returns Explain(err). The exit status stays; nil stays nil.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	told := []error{err}
	var fleet *FleetError
	if errors.As(err, &fleet) {
		told = fleet.Errs
	}
	var b strings.Builder
	ui := term.New(strings.NewReader(""), io.Discard, &b)
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
func (e explained) ExitStatus() int { return ExitStatus(e.err) }
