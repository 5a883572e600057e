package vpstest

import (
	"net"
	"sync"
	"time"
)

// delayed is a connection over a long way: every byte arrives half a round trip
// later, in both directions, in order, and any number may be on their way.
type delayed struct {
	net.Conn
	half time.Duration

	in, out *queue
	rest    []byte // of the newest part read
	once    sync.Once
	wait    sync.WaitGroup
}

// A part of a stream, or the error that ends it, and when it arrives.
type part struct {
	bytes []byte
	due   time.Time
	err   error
}

// queue holds what is on its way, up to so many parts: like a network, it makes
// a sender wait that never stops.
type queue struct {
	parts chan part
	done  chan struct{}
}

const onTheWay = 1024

func newDelayed(raw net.Conn, rtt time.Duration) *delayed {
	done := make(chan struct{})
	d := &delayed{Conn: raw, half: rtt / 2,
		in:  &queue{make(chan part, onTheWay), done},
		out: &queue{make(chan part, onTheWay), done}}
	d.wait.Go(func() { d.receive(rtt) })
	d.wait.Go(d.send)
	return d
}

// receive begins one round trip late: that is the TCP handshake, after which the
// first bytes travel.
func (d *delayed) receive(handshake time.Duration) {
	if !d.in.sleep(handshake) {
		return
	}
	for {
		buffer := make([]byte, 32<<10)
		n, err := d.Conn.Read(buffer)
		due := time.Now().Add(d.half)
		if n > 0 && !d.in.put(part{buffer[:n], due, nil}) {
			return
		}
		if err != nil {
			d.in.put(part{nil, due, err})
			return
		}
	}
}

func (d *delayed) send() {
	for {
		select {
		case p := <-d.out.parts:
			time.Sleep(time.Until(p.due))
			if _, err := d.Conn.Write(p.bytes); err != nil {
				return
			}
		case <-d.out.done:
			d.flush()
			return
		}
	}
}

// flush lets what was sent before the end still arrive.
func (d *delayed) flush() {
	defer d.Conn.Close()
	for {
		select {
		case p := <-d.out.parts:
			time.Sleep(time.Until(p.due))
			if _, err := d.Conn.Write(p.bytes); err != nil {
				return
			}
		default:
			return
		}
	}
}

func (d *delayed) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		select {
		case next := <-d.in.parts:
			if !d.in.sleep(time.Until(next.due)) {
				return 0, net.ErrClosed
			}
			if next.err != nil {
				return 0, next.err
			}
			d.rest = next.bytes
		case <-d.in.done:
			return 0, net.ErrClosed
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

func (d *delayed) Write(p []byte) (int, error) {
	if !d.out.put(part{append([]byte{}, p...), time.Now().Add(d.half), nil}) {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// Close lets the client know half a round trip later.
func (d *delayed) Close() error {
	d.once.Do(func() {
		close(d.in.done)
		_ = d.Conn.SetReadDeadline(time.Now())
	})
	return nil
}

func (q *queue) put(p part) bool {
	select {
	case <-q.done:
		return false
	default:
	}
	select {
	case q.parts <- p:
		return true
	case <-q.done:
		return false
	}
}

// sleep waits for d, and says whether nothing ended meanwhile.
func (q *queue) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-q.done:
		return false
	}
}
