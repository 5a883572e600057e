package remote

import (
	"context"
	"errors"
	"sync"
	"time"
)

var errHandshakeTimeout = errors.New("connected, but the server did not finish the SSH handshake in time")

// patience is a timeout that can be paused while a person thinks.
type patience struct {
	mu     sync.Mutex
	timer  *time.Timer
	left   time.Duration
	since  time.Time
	pauses int
	cancel context.CancelCauseFunc
}

// newPatience returns a context that ends with errHandshakeTimeout once limit has
// passed outside of pauses. stop must be called.
func newPatience(ctx context.Context, limit time.Duration) (context.Context, *patience) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{left: limit, since: time.Now(), cancel: cancel}
	p.timer = time.AfterFunc(limit, p.expire)
	return ctx, p
}

func (p *patience) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pauses == 0 {
		p.cancel(errHandshakeTimeout)
	}
}

func (p *patience) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pauses++; p.pauses == 1 {
		p.timer.Stop()
		p.left -= time.Since(p.since)
	}
}

func (p *patience) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pauses--; p.pauses == 0 {
		p.since = time.Now()
		p.timer.Reset(max(p.left, 0))
	}
}

func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pauses++ // a timer that fires after this is ignored
	p.timer.Stop()
	p.cancel(nil)
}
