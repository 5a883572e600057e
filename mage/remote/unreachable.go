package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// Reason says how a server could not be reached.
type Reason string

// The reasons of an UnreachableError.
const (
	ReasonRefused  Reason = "refused"  // nothing listens on the port
	ReasonTimeout  Reason = "timeout"  // no answer in time, to TCP or as SSH
	ReasonName     Reason = "name"     // the name does not resolve
	ReasonRoute    Reason = "route"    // no route to the address
	ReasonClosed   Reason = "closed"   // closed before the login was decided
	ReasonJump     Reason = "jump"     // the jump host would not forward
	ReasonProtocol Reason = "protocol" // what answers does not speak our SSH
)

// UnreachableError reports that no login could be tried or finished.
type UnreachableError struct {
	Name, Addr string // the hop that failed: name for people, host:port
	Via        string // the jump host before it, "" for the first hop
	Reason     Reason
	Err        error
}

func (e *UnreachableError) Error() string {
	through := ""
	if e.Via != "" {
		through = " through " + e.Via
	}
	return fmt.Sprintf("connecting to %s (%s)%s: %s", e.Name, e.Addr, through, printable(e.Err.Error(), maxErrorText))
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Hint is the next thing to do.
func (e *UnreachableError) Hint() string {
	switch e.Reason {
	case ReasonRefused:
		return "check the port, and that sshd runs on the server"
	case ReasonTimeout:
		return "check that the server is up and that no firewall drops the port"
	case ReasonName:
		return "check the spelling of the address, or give the IP address"
	case ReasonRoute:
		return "check your own network, then the address"
	case ReasonClosed:
		return "wait a minute and try again: sshd's MaxStartups or fail2ban may be turning you away"
	case ReasonJump:
		return "check on the jump host that AllowTcpForwarding permits this address"
	default:
		return "check that the port belongs to an up-to-date SSH server"
	}
}

func unreachable(t Target, via *Client, err error) *UnreachableError {
	e := &UnreachableError{Name: t.name(), Addr: t.Addr(), Reason: reasonOf(err), Err: err}
	if via != nil {
		e.Via = via.target.name()
	}
	return e
}

func reasonOf(err error) Reason {
	var dns *net.DNSError
	var refusedByJump *ssh.OpenChannelError
	var netErr net.Error
	switch {
	case errors.As(err, &dns):
		return ReasonName
	case errors.As(err, &refusedByJump):
		return jumpReason(refusedByJump.Reason)
	case errors.Is(err, errConnectTimeout), errors.Is(err, errHandshakeTimeout), errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return ReasonRoute
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return ReasonClosed
	case errors.As(err, &netErr) && netErr.Timeout():
		return ReasonTimeout
	default:
		return ReasonProtocol
	}
}

func jumpReason(r ssh.RejectionReason) Reason {
	if r == ssh.ConnectionFailed {
		return ReasonRefused
	}
	return ReasonJump
}
