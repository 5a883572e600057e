package deploy

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
)

// bounds limit what a server can keep us waiting for that answers signs of
// life and nothing else, or never stops talking. A field that is zero has its
// default; tests shorten them.
type bounds struct {
	answer time.Duration // a command that only looks, or starts something
	build  time.Duration // a run, until it switches
	margin time.Duration // rolling back, beyond the deadlines of the switch
	log    int64         // bytes of a run's log
	rate   int           // bytes a second: an upload that is slower is given up
}

func (b bounds) answerWithin() time.Duration { return cmp.Or(b.answer, 2*time.Minute) }

// buildWithin leaves time for a kernel on a small machine.
func (b bounds) buildWithin() time.Duration { return cmp.Or(b.build, 24*time.Hour) }

func (b bounds) rollbackMargin() time.Duration { return cmp.Or(b.margin, 90*time.Second) }

// maxLog is how much of a run's log is shown. All of it is on the server.
func (b bounds) maxLog() int64 { return cmp.Or(b.log, 64<<20) }

// sendWithin is the deadline of an upload of so many bytes.
func (b bounds) sendWithin(size int) time.Duration {
	return b.answerWithin() + time.Duration(size/cmp.Or(b.rate, 4<<10))*time.Second
}

// silentError is a server that keeps the connection up and does not do what it
// was asked for.
type silentError struct {
	text string
	step next.Step
}

func (e *silentError) Error() string { return e.text }

// NextStep says what to do.
func (e *silentError) NextStep() next.Step { return e.step }

func silent(doing string, limit time.Duration) error {
	return &silentError{
		fmt.Sprintf("the server did not %s within %v, though the connection is up", doing, limit),
		next.Words("look at the server on its provider's console: it may be overloaded, or its disk broken"),
	}
}

func within(ctx context.Context, limit time.Duration, doing string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, silent(doing, limit))
}
