package vpstest

import (
	"sync"
	"time"
)

// meter counts the round trips that a client had to wait for, one after the
// other, over all its connections. What runs side by side counts once.
//
// It needs links with an RTT: bytes that arrive less than that after the server
// sent something were on their way before the client could have read it.
type meter struct {
	mu    sync.Mutex
	depth int         // round trips behind the newest bytes received
	first []time.Time // first[d]: when the server first sent bytes that answer round trip d+1
}

func (m *meter) opened(at time.Time, rtt time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reach(at.Add(-rtt/2), at.Add(rtt/2))
}

// reach notes what arrives now from a client that had read what the server sent
// until then, and that is answered at.
func (m *meter) reach(then, at time.Time) {
	m.depth = max(m.depth, m.at(then)+1)
	m.answer(at, m.depth)
}

func (m *meter) at(then time.Time) int {
	depth := 0
	for i, t := range m.first {
		if !t.After(then) {
			depth = i + 1
		}
	}
	return depth
}

func (m *meter) answer(at time.Time, depth int) {
	for len(m.first) < depth {
		m.first = append(m.first, at)
	}
	for i := range m.first[:depth] {
		if at.Before(m.first[i]) && i == depth-1 {
			m.first[i] = at
		}
	}
}

func (m *meter) received(at time.Time, rtt time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.depth = max(m.depth, m.at(at.Add(-rtt))+1)
}

func (m *meter) sent(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer(at, m.depth)
}

// RoundTrips is how many round trips a client has had to wait for since the
// start or [Server.ResetRoundTrips]: the longest chain of question and answer
// over all connections. It needs links with an RTT that is long beside what the
// client needs to answer (see [Link]). A client that is kept waiting by a busy
// machine looks as if it had waited for the server, so that the count can only be
// too high: the least of several tries is the right one.
func (s *Server) RoundTrips() int {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	return len(s.meter.first)
}

// ResetRoundTrips begins to count anew.
func (s *Server) ResetRoundTrips() {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	s.meter.depth, s.meter.first = 0, nil
}
