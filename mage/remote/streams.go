package remote

import (
	"errors"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

var errEnded = errors.New("the command has ended")

// gate stands before one of a caller's writers: one write at a time, and none once
// shut.
type gate struct {
	turn chan struct{} // holds one token during a write
	shut atomic.Bool
}

func newGate() *gate { return &gate{turn: make(chan struct{}, 1)} }

// gatesFor gives each writer a gate of its own, because what one of them waits for
// may come through the other; one that takes both streams has one for both.
func gatesFor(stdout, stderr io.Writer) (out, err *gate) {
	out = newGate()
	if reflect.ValueOf(stdout).Comparable() && stdout == stderr {
		return out, out
	}
	return out, newGate()
}

func (g *gate) writer(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return &gated{g, w}
}

type gated struct {
	gate *gate
	w    io.Writer
}

func (g *gated) Write(b []byte) (int, error) {
	g.gate.turn <- struct{}{}
	defer func() { <-g.gate.turn }()
	if g.gate.shut.Load() {
		return 0, errEnded
	}
	return g.w.Write(b)
}

// shut keeps further writes out. It waits for those that are under way, but not for
// ever: a writer can be stuck.
func shut(grace time.Duration, gates ...*gate) {
	for _, g := range gates {
		g.shut.Store(true)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for _, g := range gates {
		select {
		case g.turn <- struct{}{}:
			<-g.turn
		case <-timer.C:
			return
		}
	}
}

// tailSize is how much of the standard error of a failed command is kept, in bytes.
const tailSize = 4 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b[max(0, len(b)-tailSize):]...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
