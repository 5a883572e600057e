package vpstest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Server is one played NixOS host. All its methods may be called from several
// goroutines at once.
type Server struct {
	config config
	base   string // everything of this server lies here
	root   string // its file system
	own    bool   // base is ours to remove

	lentPaths map[string]string // this machine's programs on the server, by name

	hostKeys  []ssh.Signer
	clientKey ssh.Signer
	strange   ssh.Signer // the host key of a Link with WrongHostKey

	ports    ports
	control  *control
	units    *units
	ownDisk  bool // its file system is a mounted one
	sessions sessions
	meter    meter
	synced   sync.Mutex // guards the copy of what was synced
	door     door

	power sync.Mutex // held while the server goes down or up

	mu       sync.Mutex
	epoch    int // lives of the server; a restart begins the next
	down     bool
	closed   bool
	network  network
	conns    map[*conn]bool
	accepted int
	stats    []*conn
	links    func(n int) Link
	calls    []Call
	left     map[string]int // failed attempts to leave a system, by its path

	wg sync.WaitGroup // every goroutine
}

// Start starts a server that ends with the test. It fails the test if it cannot.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s, err := newServer(t.TempDir(), options)
	if err != nil {
		t.Fatalf("vpstest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("vpstest: %v", err)
		}
	})
	return s
}

// New starts a server in a new temporary folder, which [Server.Close] removes.
func New(options ...Option) (*Server, error) { return NewIn("", options...) }

// NewIn is New with the temporary folder in dir.
func NewIn(dir string, options ...Option) (*Server, error) {
	base, err := os.MkdirTemp(dir, "vpstest-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the test server: %w", err)
	}
	s, err := newServer(base, options)
	if err != nil {
		_ = os.RemoveAll(base)
		return nil, err
	}
	s.own = true
	return s, nil
}

func newServer(base string, options []Option) (*Server, error) {
	// readlink -f on the server must give back the paths that we gave out.
	base, err := filepath.EvalSymlinks(base)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(base, "'\n:") {
		return nil, fmt.Errorf("the folder %q cannot be a test server's: scripts name it", base)
	}
	s := &Server{config: defaults(), base: base, root: filepath.Join(base, "server"),
		conns: map[*conn]bool{}, left: map[string]int{}}
	for _, o := range options {
		o(&s.config)
	}
	s.links = s.config.links
	s.units = newUnits(s)
	if err := s.start(); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("starting the test server: %w", err)
	}
	return s, nil
}

func (s *Server) start() error {
	for _, step := range []func() error{
		s.makeKeys, s.makeControlDir, s.mountDisk, s.makeRoot, s.ports.reserve, s.startControl, s.snapshot,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return s.bootUp()
}

// Close ends the server: connections, processes and goroutines.
func (s *Server) Close() error {
	off, err := s.endPower()
	if off {
		return nil
	}
	s.stopControl()
	s.wg.Wait()
	s.ports.release()
	err = errors.Join(err, s.unmountDisk())
	if s.own {
		err = errors.Join(err, os.RemoveAll(s.base))
	}
	return err
}

// endPower turns the server off for good, or says that it was off already.
func (s *Server) endPower() (off bool, err error) {
	s.power.Lock()
	defer s.power.Unlock()
	if s.isClosed() {
		return true, nil
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return false, s.powerOff()
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// spawn runs f in a goroutine that Close waits for.
func (s *Server) spawn(f func()) {
	s.wg.Go(f)
}

// after calls f after d, unless the server's life ends before.
func (s *Server) after(d time.Duration, f func()) *time.Timer {
	epoch := s.life()
	return time.AfterFunc(d, func() {
		if s.alive(epoch) {
			f()
		}
	})
}

// life names the present life of the server.
func (s *Server) life() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// alive says whether the life epoch still goes on.
func (s *Server) alive(epoch int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch == epoch && !s.down
}
