package remote

import "fmt"

// ExitError reports a command that ended with a failure.
type ExitError struct {
	Name   string // host
	Line   string // the command, shortened
	Code   int    // exit status; -1 if a signal ended it
	Signal string // name without SIG, "" if none
	Stderr string // the end of its standard error, at most 4 KiB, as it came
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		how = "signal " + e.Signal
	}
	if said := lastLine(e.Stderr); said != "" {
		how += ": " + said
	}
	return fmt.Sprintf("%q on %s: %s", e.Line, e.Name, how)
}

// shorten makes a command line fit into a message.
func shorten(line string) string { return printable(line, 60) }
