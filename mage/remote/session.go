package remote

import (
	"context"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/next"
	"golang.org/x/crypto/ssh"
)

// session is a channel in which one command or subsystem can run.
type session struct {
	ssh.Channel
	reported chan struct{} // closed when the server reported how the command ended
	over     chan struct{} // closed when the server closed the channel
	exit     exitReport    // valid once reported is closed
}

// exitReport is what the server says about the end of a command.
type exitReport struct {
	code   int
	signal string
}

// opened is the outcome of opening a session.
type opened struct {
	session *session
	err     error
}

// open asks for a session without waiting for it.
func (c *Client) open() <-chan opened {
	result := make(chan opened, 1)
	go func() {
		ch, reqs, err := c.ssh.OpenChannel("session", nil)
		if err != nil {
			result <- opened{err: err}
			return
		}
		s := &session{Channel: ch, reported: make(chan struct{}), over: make(chan struct{})}
		go s.serve(reqs)
		result <- opened{session: s}
	}()
	return result
}

// Prepare opens a session in the background, so that the next command to start
// need not wait for one. Call it after the command that it should overlap with has
// been started, or twice before: the first command takes the first session. Servers
// allow ten sessions at a time by default. SFTP has PrepareSFTP.
func (c *Client) Prepare(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spares = append(c.spares, c.open())
}

// session returns a prepared session, or a new one.
func (c *Client) session(ctx context.Context) (*session, error) {
	pending := c.spare()
	if pending == nil {
		pending = c.open()
	}
	select {
	case o := <-pending:
		if o.err != nil {
			return nil, c.openError(o.err)
		}
		return o.session, nil
	case <-c.done:
		return nil, c.lost("")
	case <-ctx.Done():
		go func() {
			if o := <-pending; o.err == nil {
				_ = o.session.Close()
			}
		}()
		return nil, fmt.Errorf("opening a session on %s: %w", c.target.name(), context.Cause(ctx))
	}
}

func (c *Client) spare() <-chan opened {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spares) == 0 {
		return nil
	}
	first := c.spares[0]
	c.spares = c.spares[1:]
	return first
}

func (c *Client) openError(err error) error {
	if c.link.reason() != nil {
		return c.lost("")
	}
	return next.With(fmt.Errorf("opening a session on %s: %s", c.target.name(), printable(err.Error(), maxErrorText)),
		next.Words("check MaxSessions in the server's sshd_config"))
}

// serve answers the server's requests on the channel, from its opening on: sshd
// uses any open channel to see whether we are alive.
func (s *session) serve(reqs <-chan *ssh.Request) {
	defer close(s.over)
	for r := range reqs {
		switch r.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			err := ssh.Unmarshal(r.Payload, &m)
			s.report(err, exitReport{code: int(m.Status)})
		case "exit-signal":
			var m struct {
				Signal     string
				CoreDumped bool
				Error      string
				Lang       string
			}
			err := ssh.Unmarshal(r.Payload, &m)
			s.report(err, exitReport{code: -1, signal: printable(m.Signal, 20)})
		}
		_ = r.Reply(false, nil)
	}
}

// report takes the first valid word about the command's end.
func (s *session) report(err error, exit exitReport) {
	select {
	case <-s.reported:
	default:
		if err == nil {
			s.exit = exit
			close(s.reported)
		}
	}
}
