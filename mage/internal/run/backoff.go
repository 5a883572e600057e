package run

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/dagadbm/vps/mage/remote"
)

// Backoff waits between tries: short at first, at most max, with jitter so that
// many hosts that came back together are not asked together.
type Backoff struct {
	next, max time.Duration
}

// NewBackoff begins short.
func NewBackoff() *Backoff { return &Backoff{next: 50 * time.Millisecond, max: 2 * time.Second} }

// Wait returns the context's error when it ends first.
func (b *Backoff) Wait(ctx context.Context) error { return pause(ctx, b.step()) }

// step is the next wait, and the one after it is longer.
func (b *Backoff) step() time.Duration {
	d := b.next/2 + rand.N(b.next)
	b.next = min(b.next*2, b.max)
	return d
}

// afterTry is how long to wait before the next login to a host whose run may be
// ready at any moment. A port that refuses costs the server nothing to be asked, so
// that it is asked again soon; one that is reached through others costs logins
// there, and one that answers and then does not let us in may count its callers.
func (b *Backoff) afterTry(err error, jumps int) time.Duration {
	var e *remote.UnreachableError
	if jumps == 0 && errors.As(err, &e) && (e.Reason == remote.ReasonRefused || e.Reason == remote.ReasonRoute) {
		return 50*time.Millisecond + rand.N(100*time.Millisecond)
	}
	return b.step()
}

// pause sleeps, but not longer than the context lives.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
