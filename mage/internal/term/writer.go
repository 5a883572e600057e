package term

import (
	"io"
	"sync"
	"time"
)

const (
	// standstill is how long work waits for a terminal that takes nothing.
	standstill = 200 * time.Millisecond
	// maxBacklog is how many bytes are kept for it, about.
	maxBacklog = 16 << 20
	// leftOut stands where there was no room for more.
	leftOut = "… some of the output was left out here: nobody took it in time\n"
)

// writer writes to a terminal that may stand still: after Ctrl-S, or behind a pager
// that shows its first page. While somebody works, as long as a display is open, only
// a moment is waited for it: a server that nobody confirms in time is rolled back, and
// reading its log is no reason. What was written meanwhile follows in order.
type writer struct {
	to io.Writer

	mu      sync.Mutex
	backlog []byte
	lost    bool          // there was no room for what came last
	idle    chan struct{} // closed when all is written; nil if all is
	stuck   bool          // somebody has waited in vain
	working int           // displays that are open
}

func (w *writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	switch {
	case len(w.backlog) == 0 || len(w.backlog)+len(b) <= maxBacklog:
		w.backlog, w.lost = append(w.backlog, b...), false
	case !w.lost:
		w.backlog, w.lost = append(w.backlog, leftOut...), true
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
		go w.drain(w.idle)
	}
	idle, working, stuck := w.idle, w.working > 0, w.stuck
	w.mu.Unlock()
	switch {
	case !working:
		<-idle
	case !stuck:
		w.wait(idle)
	}
	return len(b), nil
}

// drain writes until there is nothing left. Nobody could be told of an error.
func (w *writer) drain(idle chan struct{}) {
	defer close(idle)
	for {
		w.mu.Lock()
		b := w.backlog
		w.backlog = nil
		if len(b) == 0 {
			w.idle, w.stuck = nil, false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		_, _ = w.to.Write(b)
	}
}

func (w *writer) wait(idle <-chan struct{}) {
	timer := time.NewTimer(standstill)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.idle == idle {
			w.stuck = true
		}
	}
}

// work says that a display opens (1) or closes (-1).
func (w *writer) work(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.working += n
}

// behind says whether it stands still.
func (w *writer) behind() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stuck
}

// flush waits until all is written.
func (w *writer) flush() {
	w.mu.Lock()
	idle := w.idle
	w.mu.Unlock()
	if idle != nil {
		<-idle
	}
}
