package bootstrap

import (
	"errors"
	"fmt"
)

// InstallerError is an installation that did not reach its end.
type InstallerError struct {
	Phase  InstallerPhase
	Code   int      // the installer's exit code, or -1
	Reason string   // what it said last about it; foreign, one line; may be empty
	Tail   []string // its last lines of output, at most 20, secrets hidden
	Err    error    // how it ended; an *InstallerStuckError if we ended it
}

func newInstallerError(p InstallerPhase, err, cause error, reason string, tail []string) *InstallerError {
	e := &InstallerError{Phase: p, Code: -1, Reason: reason, Tail: tail, Err: err}
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		e.Code = exit.ExitCode()
	}
	var stuck *InstallerStuckError
	if errors.As(cause, &stuck) { // the rest is a consequence
		e.Err, e.Reason = stuck, ""
	}
	return e
}

// Error says in which phase it ended and why.
func (e *InstallerError) Error() string {
	why := e.Err.Error()
	var stuck *InstallerStuckError
	switch {
	case errors.As(e.Err, &stuck):
	case e.Reason != "":
		why = fmt.Sprintf("%q", e.Reason)
	case e.Code == 255:
		why = "the connection to the server was lost"
	case e.Code > 0:
		why = fmt.Sprintf("exit code %d", e.Code)
	}
	return fmt.Sprintf("installer failed while %s: %s", e.Phase, why)
}

// Unwrap gives the cause.
func (e *InstallerError) Unwrap() error { return e.Err }

// State says what the server is like now.
func (e *InstallerError) State() string { return e.Phase.ServerState() }

// Hint is the next thing to do.
func (e *InstallerError) Hint() string {
	var hinted interface{ Hint() string }
	if errors.As(e.Err, &hinted) {
		return hinted.Hint()
	}
	switch {
	case e.Phase == InstallerPreparing:
		return "nothing has reached the server yet: run `check`, mend what the last lines say, then run bootstrap again"
	case !e.Phase.Wiped():
		return "mend what the last lines say, then run bootstrap again; it goes on from the installer if that runs already"
	case e.Phase.Installed():
		return "run bootstrap again: it waits for the new system and goes on with it"
	case e.Phase == InstallerFormatting:
		return "compare the disk in nix/modules/disk.nix with what `lsblk` shows on the server, then run bootstrap again; it goes on from the installer that is running"
	default:
		return "mend what the last lines say, then run bootstrap again; it goes on from the installer that is running, with a fresh wipe that it asks for"
	}
}
