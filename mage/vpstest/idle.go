package vpstest

import "time"

// WaitIdle waits until the server is up and no run, watchdog or recovery is at work any more, and says
// whether that came within limit. Deadlines that have not passed yet do not count.
func (s *Server) WaitIdle(limit time.Duration) bool {
	end := time.Now().Add(limit)
	for {
		// Not in the middle of a restart.
		s.power.Lock()
		s.units.mu.Lock()
		changed, busy := s.units.changed, len(s.units.running) > 0
		s.units.mu.Unlock()
		s.power.Unlock()
		if !busy && !s.detached() {
			return true
		}
		pause := time.Until(end)
		if pause <= 0 {
			return false
		}
		if !busy {
			// Without systemd nobody tells when a process ends.
			pause = min(pause, 20*time.Millisecond)
		}
		wait(changed, pause)
	}
}

func wait(changed <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

// detached says whether a process runs that made a session of its own, as the
// supervisor does where there is no systemd.
func (s *Server) detached() bool {
	if !s.config.noSystemd {
		return false
	}
	table, err := processes()
	for _, p := range table {
		if !s.sessions.has(p.session) && s.ours(p) {
			return true
		}
	}
	return err != nil
}
