package delay

import (
	"sync"
	"time"
)

// Meter counts round trips: how often, one after the other, the client had to
// wait for an answer before it could go on. What runs side by side, on one
// connection or on several, counts once.
//
// Every byte carries the number of the round trip that it belongs to. What the
// client sends belongs to the one after the newest that has been answered to it;
// what the server sends answers the newest question that has reached it. Opening a
// connection is one round trip, as with TCP.
//
// So the count follows from the order of events at the proxy alone. A client that
// is slow to send what it could have sent at once may look as if it had waited for
// the answer that came meanwhile: the count can be too high, never too low, and
// the least of several tries is the right one.
type Meter struct {
	mu       sync.Mutex
	answered []time.Time // of round trip i+1: when its first answer reached the client
	asked    []time.Time // of round trip i+1: when its first question reached the server
}

// opened is a connection that the client begins now.
func (m *Meter) opened() (trip int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.answered) + 1
}

// sends gives the round trip of what the client sends now, not before the answer
// to the opening of its connection.
func (m *Meter) sends(opening int) (trip int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(len(m.answered), opening) + 1
}

// answers gives the round trip that the server answers now.
func (m *Meter) answers() (trip int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.asked)
}

func (m *Meter) reachedServer(trip int) { m.reach(&m.asked, trip) }
func (m *Meter) reachedClient(trip int) { m.reach(&m.answered, trip) }

func (m *Meter) reach(times *[]time.Time, trip int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for now := time.Now(); len(*times) < trip; {
		*times = append(*times, now)
	}
}

// RoundTrips is how many there were.
func (m *Meter) RoundTrips() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.answered)
}

// Before is how many round trips the client had begun, as far as the server knew,
// at some moment. The last of them counts as a whole.
func (m *Meter) Before(moment time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, t := range m.asked {
		if t.After(moment) {
			return i
		}
	}
	return len(m.asked)
}
