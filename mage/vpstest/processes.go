package vpstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// sessions are the processes that this server started, each the leader of a
// session of its own, as logins and units are.
type sessions struct {
	mu     sync.Mutex
	open   bool
	active map[int]*exec.Cmd
}

var errDown = errors.New("the server is down")

func (p *sessions) start(cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return errDown
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.active[cmd.Process.Pid] = cmd
	return nil
}

func (p *sessions) end(cmd *exec.Cmd) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.active, cmd.Process.Pid)
}

// allow says whether processes may be started.
func (p *sessions) allow(open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = open
	if p.active == nil {
		p.active = map[int]*exec.Cmd{}
	}
}

func (p *sessions) has(session int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active[session] != nil
}

// process is one line of the machine's process table.
type process struct {
	pid, session int
}

// killAll ends every process of this server, those too that made a session of
// their own.
func (s *Server) killAll() error {
	return s.killWhere(func(p process) bool { return s.sessions.has(p.session) || s.ours(p) })
}

// killSession ends every process of a session, whatever their process groups.
func (s *Server) killSession(session int) error {
	return s.killWhere(func(p process) bool { return p.session == session })
}

func (s *Server) signalSession(session int, signal syscall.Signal) error {
	table, err := processes()
	for _, p := range table {
		if p.session == session {
			_ = syscall.Kill(p.pid, signal)
		}
	}
	return err
}

// killWhere kills until a whole look at the process table finds nothing more: a
// process may start another between two looks, but the dead start none.
func (s *Server) killWhere(match func(process) bool) error {
	const patience = 10 * time.Second
	for begin := time.Now(); time.Since(begin) < patience; {
		table, err := processes()
		if err != nil {
			return fmt.Errorf("reading the process table: %w", err)
		}
		found := false
		for _, p := range table {
			if p.pid != os.Getpid() && match(p) {
				found = true
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		if !found {
			return nil
		}
		// The kernel needs a moment to end what was killed.
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("some processes of the test server at %s cannot be killed", s.root)
}
