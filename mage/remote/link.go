package remote

import (
	"net"
	"sync"
	"sync/atomic"
)

// link is the network connection of a client. It counts signs of life and
// remembers why it ended, which the SSH library does not always tell.
type link struct {
	net.Conn
	heard atomic.Uint64 // reads that brought something

	mu    sync.Mutex
	cause error
}

func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard.Add(1)
	}
	if err != nil {
		l.end(err)
	}
	return n, err
}

// end notes the first reason for the end of the connection.
func (l *link) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = err
	}
}

func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}
