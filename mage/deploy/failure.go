package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/remote"
)

// Code is the exit status of a workflow.
type Code int

// The exit statuses.
const (
	CodeDone        Code = 0 // done, or nothing to do
	CodeFailed      Code = 1 // failed, and the server is as it was
	CodeUsage       Code = 2 // bad arguments or configuration
	CodeRolledBack  Code = 3 // switched, and rolled back
	CodeUnreachable Code = 4
	CodeUnknown     Code = 5 // the outcome is unknown; the message says how to find out
	CodeFindings    Code = 6 // check found problems
	CodeBusy        Code = 7 // another run holds the server
)

// rank orders codes by how bad they are for several hosts together.
func (c Code) rank() int {
	for i, o := range []Code{CodeDone, CodeFindings, CodeBusy, CodeFailed, CodeRolledBack, CodeUnreachable, CodeUnknown, CodeUsage} {
		if c == o {
			return i
		}
	}
	return int(CodeFailed)
}

// Step is what to do next, as data. Its String is the sentence that a person reads,
// with the targets called as this program's own; its Commands are the targets and
// programs to call, with their arguments. IsZero is true where there is nothing to say.
type Step = next.Step

// Failure is the end of a workflow that did not go well, in the three parts that
// a person needs: what failed (Err), the state things are in (Now), and what to
// do (Next).
type Failure struct {
	Host string // "" when it is about this project, not about a host
	Code Code
	Err  error
	Now  string
	Next Step
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
func (f *Failure) NextStep() Step { return next.Or(f.Next, next.Of(f.Err)) }

// ExitStatus is the exit status for the shell.
func (f *Failure) ExitStatus() int { return int(f.Code) }

const asItWas = "the server is as it was"

// usage is a failure of arguments or configuration: no host was touched.
func usage(err error) error {
	return &Failure{Code: CodeUsage, Err: err, Now: "nothing was changed"}
}

// refused is a failure found before anything was changed on the host.
func refused(host string, step next.Step, format string, args ...any) error {
	return &Failure{Host: host, Code: CodeFailed, Err: fmt.Errorf(format, args...), Now: asItWas, Next: step}
}

// connectFailure sorts an error of dialling: a server that does not answer is
// another matter than one that answers wrongly.
func connectFailure(host string, err error) error {
	f := &Failure{Host: host, Code: CodeUnreachable, Err: err, Now: "nothing was changed"}
	var unreachable *remote.UnreachableError
	switch {
	case errors.As(err, &unreachable), errors.Is(err, remote.ErrLost):
	case errors.Is(err, context.Canceled):
		f.Err, f.Code = fmt.Errorf("interrupted while connecting: %w", err), CodeFailed
	default:
		f.Code = CodeFailed
	}
	return f
}

// worst gives the exit status of several results together.
func worst(codes []Code) Code {
	w := CodeDone
	for _, c := range codes {
		if c.rank() > w.rank() {
			w = c
		}
	}
	return w
}

// codeOf gives the exit status that an error stands for.
func codeOf(err error) Code {
	if err == nil {
		return CodeDone
	}
	var f *Failure
	if errors.As(err, &f) {
		return f.Code
	}
	return CodeFailed
}
