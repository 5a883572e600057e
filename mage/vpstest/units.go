package vpstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// units plays systemd: transient services and timers, and the states that other
// units are in.
type units struct {
	server *Server

	mu      sync.Mutex
	running map[string]*exec.Cmd   // by name, "x.service"
	changed chan struct{}          // closed when a service ends
	timers  map[string]*time.Timer // by name, "x.timer"
	states  map[unitKey]unitState
	later   []*time.Timer // units that get into trouble some time after a switch

	ended    map[string]unitEnd
	restarts map[string]int // how often the manager has restarted a unit by itself
}

type unitKey struct{ user, name string }

// unitEnd is how a service ended the last time.
type unitEnd struct {
	result string
	when   time.Time
}

type unitState struct {
	state string
	byNow bool // comes from the system that runs now, and goes with it
}

func newUnits(s *Server) *units {
	return &units{server: s, running: map[string]*exec.Cmd{}, timers: map[string]*time.Timer{},
		states: map[unitKey]unitState{}, changed: make(chan struct{}), restarts: map[string]int{}, ended: map[string]unitEnd{}}
}

// kill sends a signal to every process of a service.
func (u *units) kill(name string, signal syscall.Signal) error {
	u.mu.Lock()
	cmd := u.running[name]
	u.mu.Unlock()
	if cmd == nil {
		return fmt.Errorf("unit %s not loaded", name)
	}
	if signal == syscall.SIGKILL {
		return u.server.killSession(cmd.Process.Pid)
	}
	return u.server.signalSession(cmd.Process.Pid, signal)
}

// stop ends a service or a timer.
func (u *units) stop(name string) error {
	u.mu.Lock()
	timer, found := u.timers[name]
	if found {
		timer.Stop()
		delete(u.timers, name)
	}
	u.mu.Unlock()
	if found {
		return nil
	}
	return u.kill(name, syscall.SIGKILL)
}

// forget is what a crash does to the service manager.
func (u *units) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, timer := range u.timers {
		timer.Stop()
	}
	for _, timer := range u.later {
		timer.Stop()
	}
	u.timers, u.later = map[string]*time.Timer{}, nil
	u.states = map[unitKey]unitState{}
}

// settle brings the units into the states that a newly activated system wants.
// Failures of before are forgotten, as the real switch does.
func (u *units) settle(troubled []Unit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, timer := range u.later {
		timer.Stop()
	}
	u.later = nil
	for key, state := range u.states {
		if state.byNow || state.state == "failed" {
			delete(u.states, key)
		}
	}
	for _, t := range troubled {
		key := unitKey{t.User, t.Name}
		state := unitState{state: t.State, byNow: true}
		if state.state == "" {
			state.state = "failed"
		}
		if t.For > 0 {
			u.later = append(u.later, u.server.after(t.After+t.For, func() {
				u.mu.Lock()
				defer u.mu.Unlock()
				delete(u.states, key)
			}))
		}
		if t.After == 0 {
			u.states[key] = state
			continue
		}
		u.later = append(u.later, u.server.after(t.After, func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.states[key] = state
		}))
	}
}

// SetUnit puts a unit into a state: "failed", "auto-restart", "activating",
// "active". An empty state makes it inactive.
func (s *Server) SetUnit(user, name, state string) {
	s.units.mu.Lock()
	defer s.units.mu.Unlock()
	if state == "" {
		delete(s.units.states, unitKey{user, name})
		return
	}
	s.units.states[unitKey{user, name}] = unitState{state: state}
}

// SetEnded makes systemctl show say how a service ended the last time, and when:
// "success", "exit-code" and the like. A zero time is that of a service that did
// not run since the server was started.
func (s *Server) SetEnded(name, result string, when time.Time) {
	s.units.mu.Lock()
	defer s.units.mu.Unlock()
	s.units.ended[name] = unitEnd{result, when}
}

// SetRestarts makes systemctl show say how often a unit was restarted by itself.
func (s *Server) SetRestarts(name string, n int) {
	s.units.mu.Lock()
	defer s.units.mu.Unlock()
	s.units.restarts[name] = n
}

// Journal is what the processes of a unit ("vps-run-ID.service") printed.
func (s *Server) Journal(unit string) string {
	text, _ := os.ReadFile(filepath.Join(s.controlDir(), "journal-"+unit))
	return string(text)
}

// Unit is the state of a unit, of the system if user is empty, as systemctl
// is-active prints it.
func (s *Server) Unit(user, name string) string { return s.units.state(user, name) }
