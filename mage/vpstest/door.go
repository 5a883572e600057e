package vpstest

import (
	"fmt"
	"net"
	"sync"
)

// door is where connections come in. It has a lock of its own, because a system
// that is activated may change the port while connections are accepted.
type door struct {
	mu       sync.Mutex
	listener net.Listener
	port     int
}

// setNetwork makes SSH behave as the system that runs now wants it.
func (s *Server) setNetwork(n network) error {
	s.mu.Lock()
	before := s.network
	s.network = n
	down := s.down
	s.mu.Unlock()
	switch {
	case n.ssh == SSHStopped:
		s.cutAll()
	case n.ssh == SSHDropped:
		s.eachConn((*conn).freeze)
	case before.ssh == SSHDropped:
		// What got lost meanwhile is not sent again.
		s.cutAll()
	}
	if down || n.ssh == SSHStopped {
		return s.openDoor(0)
	}
	if n.port != 0 {
		return s.openDoor(n.port)
	}
	return s.openDoor(s.ports.main)
}

// openDoor accepts connections at port and nowhere else; 0 is nowhere at all.
func (s *Server) openDoor(port int) error {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	if s.door.listener != nil {
		if s.door.port == port {
			return nil
		}
		_ = s.door.listener.Close()
		s.door.listener = nil
	}
	if port == 0 {
		return nil
	}
	listener, err := listen(port)
	if err != nil {
		return fmt.Errorf("listening at port %d: %w", port, err)
	}
	s.door.listener, s.door.port = listener, port
	s.spawn(func() { s.accept(listener) })
	return nil
}
