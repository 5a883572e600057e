package run

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Bounds limit what a server can keep us waiting for that answers signs of
// life and nothing else, or never stops talking. A field that is zero has its
// default; tests shorten them.
type Bounds struct {
	Answer time.Duration // a command that only looks, or starts something
	Build  time.Duration // a run, until it switches
	Margin time.Duration // rolling back, beyond the deadlines of the switch
	Log    int64         // bytes of a run's log
	Rate   int           // bytes a second: an upload that is slower is given up
}

func (b Bounds) answerWithin() time.Duration { return cmp.Or(b.Answer, 2*time.Minute) }

// buildWithin leaves time for a kernel on a small machine.
func (b Bounds) buildWithin() time.Duration { return cmp.Or(b.Build, 24*time.Hour) }

func (b Bounds) rollbackMargin() time.Duration { return cmp.Or(b.Margin, 90*time.Second) }

// maxLog is how much of a run's log is shown. All of it is on the server.
func (b Bounds) maxLog() int64 { return cmp.Or(b.Log, 64<<20) }

// sendWithin is the deadline of an upload of so many bytes.
func (b Bounds) sendWithin(size int) time.Duration {
	return b.answerWithin() + time.Duration(size/cmp.Or(b.Rate, 4<<10))*time.Second
}

// SilentError is a server that keeps the connection up and does not do what it
// was asked for.
type SilentError struct {
	Text string
	Step next.Step
}

func (e *SilentError) Error() string { return e.Text }

// NextStep says what to do.
func (e *SilentError) NextStep() next.Step { return e.Step }

func silent(doing string, limit time.Duration) error {
	return &SilentError{
		fmt.Sprintf("the server did not %s within %v, though the connection is up", doing, limit),
		next.Words("look at the server on its provider's console: it may be overloaded, or its disk broken"),
	}
}

func within(ctx context.Context, limit time.Duration, doing string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, silent(doing, limit))
}
