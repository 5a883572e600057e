package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/remote"
)

// Kind says what sort of an end a failure is.
type Kind int

// The kinds.
const (
	AsCause     Kind = iota // as the error that it wraps
	Failed                  // failed, and the server is as it was
	Usage                   // bad arguments or configuration
	Unreachable             // the server does not answer
	Unknown                 // the outcome is unknown
	Busy                    // another bootstrap is at work
)

// Failure is a bootstrap that did not go well: what failed (Err), the state
// things are in (Now), and what to do (Next).
type Failure struct {
	Host string // "" when it is about this project, not about a host
	Kind Kind
	Err  error
	Now  string
	Next next.Step
}

func (f *Failure) Error() string {
	if f.Host == "" {
		return f.Err.Error()
	}
	return f.Host + ": " + f.Err.Error()
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// State says what state the host is in now.
func (f *Failure) State() string { return f.Now }

// NextStep says what to do next: Next, or what the cause says.
func (f *Failure) NextStep() next.Step { return next.Or(f.Next, next.Of(f.Err)) }

const asItWas = "the server is as it was"

// usage is a failure of arguments or configuration: no host was touched.
func usage(err error) error {
	return &Failure{Kind: Usage, Err: err, Now: "nothing was changed"}
}

// refused is a failure found before anything was changed on the host.
func refused(host string, step next.Step, format string, args ...any) error {
	return &Failure{Host: host, Kind: Failed, Err: fmt.Errorf(format, args...), Now: asItWas, Next: step}
}

// connectFailure sorts an error of dialling: a server that does not answer is
// another matter than one that answers wrongly.
func connectFailure(host string, err error) error {
	f := &Failure{Host: host, Kind: Failed, Err: err, Now: "nothing was changed"}
	var unknown *remote.UnknownHostKeyError
	switch {
	case errors.As(err, &unknown):
		f.Next = next.Say("compare the fingerprint with the one on the server's console; if it is right: %s",
			next.Target("bootstrap", host, "-hostkey="+unknown.Fingerprint))
	case isUnreachable(err):
		f.Kind = Unreachable
	case errors.Is(err, context.Canceled):
		f.Err = fmt.Errorf("interrupted while connecting: %w", err)
	}
	return f
}

func isUnreachable(err error) bool {
	var unreachable *remote.UnreachableError
	return errors.As(err, &unreachable) || errors.Is(err, remote.ErrLost)
}

// deadlineError is the end of a phase's time.
type deadlineError struct {
	text string
	step next.Step
}

func (e *deadlineError) Error() string { return e.text }

// NextStep says what to do.
func (e *deadlineError) NextStep() next.Step { return e.step }

// firstUpdateError is the failure of the first update, which says its host's name
// once.
type firstUpdateError struct{ whole, told error }

func (e firstUpdateError) Error() string { return "first update: " + e.told.Error() }
func (e firstUpdateError) Unwrap() error { return e.whole }
