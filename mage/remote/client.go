package remote

import (
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Causes of a connection's end that no read error tells.
var (
	errClosed   = errors.New("the connection was closed on this side")
	errProtocol = errors.New("the server broke the SSH protocol")
)

// Client is a login on a server. It is safe for concurrent use.
type Client struct {
	target   Target
	hostKey  ssh.PublicKey
	loginKey ssh.PublicKey // nil if the server asked for none
	banner   string

	link     *link
	ssh      *ssh.Client
	via      *Client // the jump host, closed with this client
	done     chan struct{}
	told     chan []byte        // one token: the host keys that the server told of
	caughtUp chan chan struct{} // serve closes what it gets here once it has seen all requests that came

	mu     sync.Mutex
	spares []<-chan opened
	sftp   *sftpState
}

func newClient(a *attempt, l *link, conn ssh.Conn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) *Client {
	c := &Client{
		target: a.target, hostKey: plainKey(a.policy.agreed), banner: a.banner.text(),
		link: l, via: a.via, done: make(chan struct{}), told: make(chan []byte, 1), caughtUp: make(chan chan struct{}),
	}
	if p := cmpOr(a.login.current, a.login.used); p != nil {
		c.loginKey = plainKey(p.PublicKey())
	}
	// The library gets no requests to serve: we serve them, because their end is
	// the one reliable sign that the connection is over.
	none := make(chan *ssh.Request)
	close(none)
	c.ssh = ssh.NewClient(conn, chans, none)
	go c.serve(reqs)
	if every := a.d.keepAlive(); every > 0 {
		go c.watch(every)
	}
	return c
}

// serve refuses what the server asks of us, and cleans up when it stops asking.
func (c *Client) serve(reqs <-chan *ssh.Request) {
	for open := true; open; {
		select {
		case r, more := <-reqs:
			if open = more; more {
				c.refuse(r)
			}
		case handled := <-c.caughtUp:
			for waiting := true; waiting; {
				select {
				case r, more := <-reqs:
					if open = more; more {
						c.refuse(r)
					}
					waiting = more
				default:
					waiting = false
				}
			}
			close(handled)
		}
	}
	c.link.end(errProtocol) // unless the reason is known already
	_ = c.link.Close()
	close(c.done)
	closeIfAny(c.via)
}

// refuse answers one request, after a look whether it tells host keys.
func (c *Client) refuse(r *ssh.Request) {
	if r.Type == hostKeysTold {
		select {
		case c.told <- r.Payload:
		default: // told already
		}
	}
	_ = r.Reply(false, nil)
}

// Close ends the connection, and those to jump hosts with it. It does not wait for
// commands: they end with ErrLost.
func (c *Client) Close() error {
	c.link.end(errClosed)
	closeIfAny(c.via) // else a jump host waits until the other end has taken what it holds
	err := c.link.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Done is closed when the connection has ended, for whatever reason.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns nil while the connection lives, net.ErrClosed after Close, and
// otherwise an error that wraps [ErrLost].
func (c *Client) Err() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	if errors.Is(c.link.reason(), errClosed) {
		return net.ErrClosed
	}
	return c.lost("")
}

// Target returns what was dialled.
func (c *Client) Target() Target { return c.target }

// HostKey returns the verified key of the server; of a certificate, the key in it.
func (c *Client) HostKey() ssh.PublicKey { return c.hostKey }

// HostKeyLine returns the server's key as Target.HostKey takes it.
func (c *Client) HostKeyLine() string {
	return authorizedLine(c.hostKey)
}

func authorizedLine(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// LoginKey returns the key that the server let in; of a certificate, the key in it.
// It is nil where the server asked for no key.
func (c *Client) LoginKey() ssh.PublicKey { return c.loginKey }

// Fingerprint returns the host key's, as "SHA256:…".
func (c *Client) Fingerprint() string { return ssh.FingerprintSHA256(c.hostKey) }

// Banner returns what the server said before the login, on one line and without
// control characters.
func (c *Client) Banner() string { return c.banner }

// link is the network connection of a client. It counts signs of life and
// remembers why it ended, which the SSH library does not always tell.
type link struct {
	net.Conn
	heard atomic.Uint64 // reads that brought something

	mu    sync.Mutex
	cause error
}

func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard.Add(1)
	}
	if err != nil {
		l.end(err)
	}
	return n, err
}

// end notes the first reason for the end of the connection.
func (l *link) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = err
	}
}

func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

var errSilent = errors.New("the server stopped answering")

// watch asks a silent server for a sign of life, and ends the connection when
// none comes. Anything that arrives counts, so a busy link costs nothing.
func (c *Client) watch(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	heard, silent := c.link.heard.Load(), 0
	asking := make(chan struct{}, 1)
	for {
		select {
		case <-c.done:
			return
		case <-ticker.C:
		}
		if now := c.link.heard.Load(); now != heard {
			heard, silent = now, 0
			continue
		}
		if silent > keepAliveMisses-1 {
			c.link.end(errSilent)
			_ = c.Close()
			return
		}
		silent++
		c.askForLife(asking)
	}
}

// askForLife sends one request without waiting for it: on a dead link even the
// sending can block. A second one is not sent while the first is open.
func (c *Client) askForLife(asking chan struct{}) {
	select {
	case asking <- struct{}{}:
		go func() {
			_, _, _ = c.ssh.SendRequest("keepalive@openssh.com", true, nil)
			<-asking
		}()
	default:
	}
}
