package secrets

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Conditions that a caller may want to tell apart with [errors.Is].
var (
	ErrNoKey        = errors.New("no age key found")
	ErrWrongKey     = errors.New("none of the age keys at hand decrypts it")
	ErrExampleKey   = errors.New("the public example key protects nothing")
	ErrMissing      = errors.New("file does not exist")
	ErrNotEncrypted = errors.New("not encrypted with sops")
	ErrDamaged      = errors.New("damaged or tampered with")
	ErrChanged      = errors.New("changed by another process meanwhile")
	ErrUnconfirmed  = errors.New("not confirmed on this machine")
	ErrUnknownName  = errors.New("no secret of that name")
	ErrAborted      = errors.New("aborted; everything is as it was")
)

// Error is a failure together with the next thing to do.
type Error struct {
	What string    // what failed, one line, lower-case
	Next next.Step // an imperative sentence
	Err  error     // the cause, or nil
}

// Error returns what failed and why.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.What
	}
	return e.What + ": " + e.Err.Error()
}

// NextStep returns the next thing to do.
func (e *Error) NextStep() next.Step { return e.Next }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(cause error, step next.Step, format string, args ...any) error {
	return &Error{What: fmt.Sprintf(format, args...), Next: step, Err: cause}
}

// Console is the person at the terminal. Answers never include the line end.
type Console interface {
	// Interactive reports whether somebody can answer.
	Interactive() bool
	// Say tells something. It goes to stderr and is never a secret.
	Say(format string, args ...any)
	// Ask asks a question; io.EOF means that nobody answers.
	Ask(ctx context.Context, question string) (string, error)
	// AskHidden asks for a secret and shows nothing of the answer.
	AskHidden(ctx context.Context, question string) (string, error)
}
