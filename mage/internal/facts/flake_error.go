package facts

import (
	"fmt"

	"github.com/dagadbm/vps/mage/internal/next"
)

// FlakeError is a place in a Nix file that the small reader cannot go on from.
type FlakeError struct {
	File    string // path in the assembled tree
	Line    int    // from 1; 0: the file as a whole
	Problem string
}

// Error names the place and what is wrong there.
func (e *FlakeError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Problem)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
}

// NextStep is what to do about it.
func (e *FlakeError) NextStep() next.Step {
	return next.Say("write that line as nix/ of this project does, a plain value without conditions, or let Nix answer: run %s with a container engine or Nix at hand", next.Target("check"))
}

func flakeErrorf(file string, line int, format string, args ...any) *FlakeError {
	return &FlakeError{File: file, Line: line, Problem: fmt.Sprintf(format, args...)}
}
