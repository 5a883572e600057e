// Package delay is a long way to a server on this machine: a TCP proxy whose bytes
// arrive half a round trip later, in both directions, as many as there are, and
// which counts the round trips.
package delay

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy accepts connections on a loopback port and passes them on.
type Proxy struct {
	to       string
	listener net.Listener
	rtt      atomic.Int64
	up, down atomic.Int64 // bytes

	mu     sync.Mutex
	meter  *Meter // of the connections since Reset
	conns  map[net.Conn]bool
	opened []time.Time
	closed bool
	wg     sync.WaitGroup
}

// Listen begins to pass connections on to an address, without delay at first.
func Listen(to string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{to: to, listener: listener, meter: &Meter{}, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Port is where it listens.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// SetRTT sets the round-trip time of the connections from now on.
func (p *Proxy) SetRTT(rtt time.Duration) { p.rtt.Store(int64(rtt)) }

// Bytes is how much went to the server and came from it.
func (p *Proxy) Bytes() (up, down int64) { return p.up.Load(), p.down.Load() }

// Opened says when each connection since Reset was opened.
func (p *Proxy) Opened() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Time(nil), p.opened...)
}

// Meter counts the round trips of all connections since Reset together.
func (p *Proxy) Meter() *Meter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.meter
}

// Reset begins all counts anew. What is still open counts for the old ones.
func (p *Proxy) Reset() {
	p.up.Store(0)
	p.down.Store(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meter, p.opened = &Meter{}, nil
}

// Close ends it and every connection.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(client) {
			return
		}
		p.wg.Go(func() { p.pass(client) })
	}
}

// keep notes a connection that Close must end, unless that has happened.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// pass serves one connection. The server learns of it one and a half round trips
// after the client began it: TCP's own handshake, as our loopback has none worth
// speaking of. Until then nothing of the client's arrives, and the client, which
// believes to be connected, waits for the server to speak.
func (p *Proxy) pass(client net.Conn) {
	defer p.drop(client)
	rtt := time.Duration(p.rtt.Load())
	meter := p.Meter()
	began, opening := time.Now(), meter.opened()
	p.mu.Lock()
	p.opened = append(p.opened, began)
	p.mu.Unlock()
	up := &lane{from: client, half: rtt / 2, bytes: &p.up, notBefore: began.Add(rtt * 3 / 2),
		trip: func() int { return meter.sends(opening) }, arrived: meter.reachedServer}
	var both sync.WaitGroup
	both.Go(up.fill())
	defer both.Wait()
	time.Sleep(time.Until(up.notBefore))
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		_ = client.Close()
		up.drain()
		return
	}
	meter.reachedServer(opening + 1)
	if !p.keep(server) {
		_ = client.Close()
		up.drain()
		return
	}
	defer p.drop(server)
	down := &lane{from: server, half: rtt / 2, bytes: &p.down, trip: meter.answers, arrived: meter.reachedClient}
	both.Go(down.fill())
	both.Go(func() { down.empty(client) })
	up.empty(server)
}

// lane is one direction of a connection.
type lane struct {
	from      net.Conn
	half      time.Duration
	notBefore time.Time
	bytes     *atomic.Int64
	trip      func() int
	arrived   func(trip int)

	way chan part
}

// part is some bytes on their way, or the end of them.
type part struct {
	bytes []byte
	due   time.Time
	trip  int
	err   error
}

// A sender has to wait only after so many parts, so that the width of the link is
// no limit.
const onTheWay = 1 << 14

// fill makes the function that reads what is sent.
func (l *lane) fill() func() {
	l.way = make(chan part, onTheWay)
	return func() {
		defer close(l.way)
		for {
			buffer := make([]byte, 32<<10)
			n, err := l.from.Read(buffer)
			due := time.Now().Add(l.half)
			if due.Before(l.notBefore) {
				due = l.notBefore
			}
			if n > 0 {
				l.bytes.Add(int64(n))
				l.way <- part{bytes: buffer[:n:n], due: due, trip: l.trip()}
			}
			if err != nil {
				l.way <- part{due: due, err: err}
				return
			}
		}
	}
}

// empty delivers each part when it is due, and the end as the kind of end it was.
func (l *lane) empty(to net.Conn) {
	defer l.drain()
	for p := range l.way {
		time.Sleep(time.Until(p.due))
		switch {
		case errors.Is(p.err, io.EOF):
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		case p.err != nil:
			_ = to.Close()
			return
		}
		l.arrived(p.trip)
		if _, err := to.Write(p.bytes); err != nil {
			_ = l.from.Close()
			return
		}
	}
}

// drain lets fill come to its end.
func (l *lane) drain() {
	for range l.way {
	}
}
