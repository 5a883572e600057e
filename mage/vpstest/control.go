package vpstest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Call is one call of a played program on the server.
type Call struct {
	Program string            // "systemctl"
	Args    []string          // without the program
	Env     map[string]string // the few variables that matter to played programs
	Dir     string            // the caller's folder
	Time    time.Time
}

// String is the call as a command line, without quotes.
func (c Call) String() string { return strings.Join(append([]string{c.Program}, c.Args...), " ") }

// A reply is what the caller prints, how long it then waits, its exit code.
type reply struct {
	out, err string
	wait     time.Duration
	code     int
}

// control is how played programs, which are small shell scripts, reach this
// process: each writes what it was called with into a folder of its own, the
// folder's name into one named pipe, and then reads another, in that folder.
// Writing a few bytes into a pipe is atomic, wakes us at once, and needs no
// program that a laptop might not have.
type control struct {
	dir  string
	pipe *os.File
}

const quitRequest = "quit"

func (s *Server) controlDir() string { return filepath.Join(s.base, "control") }

func (s *Server) makeControlDir() error { return os.MkdirAll(s.controlDir(), 0o755) }

func (s *Server) startControl() error {
	path := filepath.Join(s.controlDir(), "requests")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("making the control pipe: %w", err)
	}
	// Read and write: so opening does not wait, and reading never ends.
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening the control pipe: %w", err)
	}
	s.control = &control{dir: s.controlDir(), pipe: pipe}
	s.spawn(s.serveControl)
	return nil
}

func (s *Server) stopControl() {
	if s.control != nil {
		_, _ = s.control.pipe.WriteString(quitRequest + "\n")
	}
}

func (s *Server) serveControl() {
	defer s.control.pipe.Close()
	lines := bufio.NewScanner(s.control.pipe)
	for lines.Scan() {
		name := lines.Text()
		if name == quitRequest {
			return
		}
		epoch := s.life()
		s.spawn(func() { s.serveCall(epoch, filepath.Join(s.control.dir, filepath.Base(name))) })
	}
}

// The variables that a played program passes on, in the order of its script.
var passedVariables = []string{"HOME", "XDG_RUNTIME_DIR", "SUDO_USER", "NIXOS_INSTALL_BOOTLOADER", "LOCALE_ARCHIVE", "NIXOS_NO_CHECK"}

func (s *Server) serveCall(epoch int, dir string) {
	// Fails when the caller is dead: then nobody reads the pipe.
	pipe, err := unix.Open(filepath.Join(dir, "reply"), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(pipe) }()
	_, _ = unix.Write(pipe, []byte("hello\n"))
	call, err := readCall(dir)
	if err != nil || !s.alive(epoch) {
		return
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	if s.config.hook != nil {
		s.config.hook(s, call)
	}
	if s.alive(epoch) {
		answer(pipe, dir, s.play(call))
	}
}

func readCall(dir string) (Call, error) {
	text, err := os.ReadFile(filepath.Join(dir, "call"))
	if err != nil {
		return Call{}, err
	}
	words := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	if len(words) < 2+len(passedVariables) {
		return Call{}, errors.New("a call without its parts")
	}
	call := Call{Program: words[0], Dir: words[1], Env: map[string]string{}, Time: time.Now()}
	for i, name := range passedVariables {
		call.Env[name] = words[2+i]
	}
	call.Args = words[2+len(passedVariables):]
	return call, nil
}

// answer leaves what the caller prints beside the pipe, and ends its waiting.
func answer(pipe int, dir string, r reply) {
	for name, text := range map[string]string{"out": r.out, "err": r.err} {
		if text != "" && os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) != nil {
			return
		}
	}
	wait := ""
	if r.wait > 0 {
		wait = fmt.Sprintf("%d.%03d", r.wait/time.Second, r.wait.Milliseconds()%1000)
	}
	_, _ = unix.Write(pipe, []byte(fmt.Sprintf("%d %s\n", r.code, wait)))
}

// Calls lists the calls of played programs so far, oldest first. It is the
// record of the order in which the server's scripts did things.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// play carries a call out.
func (s *Server) play(call Call) reply {
	switch call.Program {
	case "systemd-run":
		return s.systemdRun(call)
	case "systemctl":
		return s.systemctl(call)
	case "nixos-rebuild":
		return s.nixosRebuild(call)
	case "nix-env":
		return s.nixEnv(call)
	case "switch-to-configuration":
		return s.switchTo(call)
	case "sync":
		if err := s.snapshot(); err != nil {
			return reply{err: err.Error() + "\n", code: 1}
		}
		return reply{}
	}
	// A traced program: its script runs the real one next.
	return reply{}
}
