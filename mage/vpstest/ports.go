package vpstest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ports keeps the server's port, and a spare one, for the whole of its life: a
// server that is down must refuse connections, not lend its port to another.
// Each port is held by a socket that is bound and never listens.
type ports struct {
	main, spare int
	held        []int
}

func (p *ports) reserve() (err error) {
	if p.main, err = p.hold(); err == nil {
		p.spare, err = p.hold()
	}
	return err
}

func (p *ports) hold() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, fmt.Errorf("reserving a port: %w", err)
	}
	unix.CloseOnExec(fd)
	p.held = append(p.held, fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, fmt.Errorf("reserving a port: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("reserving a port: %w", err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("reserving a port: %w", err)
	}
	return address.(*unix.SockaddrInet4).Port, nil
}

func (p *ports) release() {
	for _, fd := range p.held {
		_ = unix.Close(fd)
	}
	p.held = nil
}

// listen accepts connections at port, which may be a reserved one.
func listen(port int) (net.Listener, error) {
	var config net.ListenConfig
	config.Control = func(_, _ string, raw syscall.RawConn) (err error) {
		controlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		if controlErr != nil {
			return controlErr
		}
		return err
	}
	return config.Listen(context.Background(), "tcp4", "127.0.0.1:"+strconv.Itoa(port))
}

// Addr is the server's address and port, "127.0.0.1:40123".
func (s *Server) Addr() string { return "127.0.0.1:" + s.portText() }

// Host is the server's address without a port.
func (s *Server) Host() string { return "127.0.0.1" }

// Port is the server's own SSH port.
func (s *Server) Port() int { return s.ports.main }

// SparePort is a port at which the server listens when a system says so
// ([System.Port]). Nobody else gets it meanwhile.
func (s *Server) SparePort() int { return s.ports.spare }

func (s *Server) portText() string { return strconv.Itoa(s.ports.main) }
