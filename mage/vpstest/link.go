package vpstest

import (
	"io"
	"net"
	"sync"
	"time"
)

// Link is how one connection behaves. The zero value is a good one.
type Link struct {
	RTT         time.Duration // round-trip time of the network
	CutReceived int64         // cut once so many bytes came from the client; 0 is never
	CutSent     int64         // cut once so many bytes went to the client; 0 is never
	Refuse      bool          // closed as soon as it is opened
	Silent      bool          // opened, and then nothing
	Mute        bool          // logged in, and then nothing but signs of life
	RefuseLogin bool          // no key is good enough
	StrangeKey  bool          // another host key than the server's own
	Greeting    []byte        // sent before the server's version
	Banner      string        // shown before the login
	UploadLimit int64         // the disk is full after so many bytes by SFTP; 0 is never

	// Exec, if there, answers commands instead of the server when it returns true.
	// It must return once writing fails.
	Exec func(line string, stdin io.Reader, stdout, stderr io.Writer) (exit int, answered bool)
	// SFTP, if there, speaks on the SFTP subsystem's channel instead of the server.
	SFTP func(channel io.ReadWriter)
	// OnCut is called when the connection has been cut at its byte.
	OnCut func()
}

// SetLinks does what [WithLinks] does, from the next connection on. The numbers
// go on counting.
func (s *Server) SetLinks(links func(n int) Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = links
}

// Traffic is what went over one connection, as the server saw it.
type Traffic struct {
	Opened         time.Time
	Received, Sent int64 // bytes
	Turns          int   // how often the server began to answer
}

// Connections tells of every connection so far, in the order of their numbers.
func (s *Server) Connections() []Traffic {
	s.mu.Lock()
	stats := append([]*conn(nil), s.stats...)
	s.mu.Unlock()
	all := make([]Traffic, len(stats))
	for i, c := range stats {
		all[i] = c.traffic()
	}
	return all
}

// CutAfter cuts a connection, by its number, once so many more bytes went to the
// client or came from it; 0 is never. It says whether there is that connection.
func (s *Server) CutAfter(n int, sent, received int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.stats {
		if c.number == n {
			c.cutAfter(sent, received)
			return true
		}
	}
	return false
}

// conn is a connection that counts, ends at a byte, and can be frozen.
type conn struct {
	net.Conn
	number int
	link   Link
	meter  *meter

	mu      sync.Mutex
	stat    Traffic
	hearing bool // the client spoke last
	frozen  bool
	closed  chan struct{}
	once    sync.Once
	cutting sync.Once
}

func newConn(raw net.Conn, number int, link Link, m *meter) *conn {
	return &conn{Conn: raw, number: number, link: link, meter: m, closed: make(chan struct{}), stat: Traffic{Opened: time.Now()}}
}

func (c *conn) cutAfter(sent, received int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sent > 0 {
		c.link.CutSent = c.stat.Sent + sent
	}
	if received > 0 {
		c.link.CutReceived = c.stat.Received + received
	}
}

func (c *conn) traffic() Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stat
}

func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		err = c.Conn.Close()
	})
	return err
}

// freeze makes the connection one whose packets get lost.
func (c *conn) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = true
}

func (c *conn) isFrozen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frozen
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.isFrozen() {
		<-c.closed
		return 0, net.ErrClosed
	}
	c.mu.Lock()
	limit := c.link.CutReceived
	if limit > 0 {
		n = int(min(int64(n), limit-c.stat.Received))
	}
	c.stat.Received += int64(n)
	cut := limit > 0 && c.stat.Received == limit
	c.hearing = c.hearing || n > 0
	c.mu.Unlock()
	if n > 0 {
		c.meter.received(time.Now(), c.link.RTT)
	}
	if cut {
		c.cut()
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.isFrozen() {
		return len(p), nil
	}
	c.mu.Lock()
	whole := len(p)
	cut := c.link.CutSent > 0 && c.stat.Sent+int64(len(p)) >= c.link.CutSent
	if cut {
		p = p[:max(c.link.CutSent-c.stat.Sent, 0)]
	}
	c.stat.Sent += int64(len(p))
	if c.hearing {
		c.stat.Turns++
		c.hearing = false
	}
	c.mu.Unlock()
	c.meter.sent(time.Now())
	n, err := c.Conn.Write(p)
	if cut {
		c.cut()
		if n < whole && err == nil {
			err = net.ErrClosed
		}
	}
	return n, err
}

func (c *conn) cut() {
	_ = c.Close()
	if c.link.OnCut != nil {
		c.cutting.Do(c.link.OnCut)
	}
}
