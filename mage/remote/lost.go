package remote

import (
	"errors"
	"fmt"
	"io"
)

// ErrLost is wrapped by the error of whatever was under way when a connection
// ended. What became of a command, or all that it printed, is then not known.
var ErrLost = errors.New("connection lost")

// LostError reports a connection that ended, or a command whose end the server did
// not report. It wraps [ErrLost].
type LostError struct {
	Name   string // host
	During string // the command, shortened; "" when there was none
	Err    error  // why, as far as known; may be nil
}

func (e *LostError) Error() string {
	during, why := "", ""
	if e.During != "" {
		during = fmt.Sprintf(" during %q", e.During)
	}
	switch {
	case errors.Is(e.Err, io.EOF):
		why = ": the server closed it"
	case e.Err != nil:
		why = ": " + printable(e.Err.Error(), maxErrorText)
	}
	return fmt.Sprintf("connection to %s lost%s%s", e.Name, during, why)
}

// Unwrap returns ErrLost and the cause.
func (e *LostError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrLost}
	}
	return []error{ErrLost, e.Err}
}

// Hint is the next thing to do.
func (e *LostError) Hint() string {
	return "check that the server is up, then run the same command again"
}

// lost describes the end of the connection for what was under way.
func (c *Client) lost(during string) error {
	return &LostError{Name: c.target.name(), During: during, Err: c.link.reason()}
}
