package remote

import (
	"io"
	"net"
	"sync"
	"time"
)

// wire is one direction of an in-memory connection: whatever is written can be
// read after delay. Nothing ever blocks a writer, so that virtual time can pass.
type wire struct {
	delay  time.Duration
	mu     sync.Mutex
	chunks []chunk
	frozen bool
	budget int // bytes let through before the wire is cut; negative: all
	closed chan struct{}
	once   sync.Once
	news   chan struct{}
}

type chunk struct {
	data []byte
	at   time.Time
}

func newWire(delay time.Duration) *wire {
	return &wire{delay: delay, budget: -1, closed: make(chan struct{}), news: make(chan struct{}, 1)}
}

func (w *wire) close() { w.once.Do(func() { close(w.closed) }) }

func (w *wire) write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.closed:
		return 0, io.ErrClosedPipe
	default:
	}
	n := len(b)
	if w.budget >= 0 {
		n = min(n, w.budget)
		w.budget -= n
	}
	w.chunks = append(w.chunks, chunk{append([]byte(nil), b[:n]...), time.Now().Add(w.delay)})
	w.notify()
	if n < len(b) {
		w.close()
		return n, io.ErrClosedPipe
	}
	return n, nil
}

func (w *wire) notify() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *wire) read(b []byte) (int, error) {
	for {
		n, wait := w.take(b)
		if n > 0 {
			return n, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-w.news:
		case <-w.closed:
			timer.Stop()
			if n, _ := w.take(b); n > 0 {
				return n, nil
			}
			return 0, io.EOF
		}
		timer.Stop()
	}
}

// take returns what has arrived, or how long it is until something may.
func (w *wire) take(b []byte) (int, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen || len(w.chunks) == 0 {
		return 0, 24 * time.Hour
	}
	first := &w.chunks[0]
	if wait := time.Until(first.at); wait > 0 {
		return 0, wait
	}
	n := copy(b, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 {
		w.chunks = w.chunks[1:]
	}
	return n, 0
}

func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = true
}

// end is one end of an in-memory connection.
type end struct{ in, out *wire }

func newLink(delay time.Duration) (client, server *end) {
	up, down := newWire(delay), newWire(delay)
	return &end{in: down, out: up}, &end{in: up, out: down}
}

func (e *end) Read(b []byte) (int, error)  { return e.in.read(b) }
func (e *end) Write(b []byte) (int, error) { return e.out.write(b) }
func (e *end) Close() error                { e.in.close(); e.out.close(); return nil }
func (e *end) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (e *end) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }

func (e *end) SetDeadline(time.Time) error      { return nil }
func (e *end) SetReadDeadline(time.Time) error  { return nil }
func (e *end) SetWriteDeadline(time.Time) error { return nil }
