package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Defaults of a Dialer whose fields are zero.
const (
	DefaultConnectTimeout   = 10 * time.Second
	DefaultHandshakeTimeout = 20 * time.Second
	DefaultKeepAlive        = 5 * time.Second

	keepAliveMisses = 3
)

// Dialer logs in to servers. The zero value is ready; it is safe for concurrent
// use, and must not be copied or changed once used.
type Dialer struct {
	// Prompter asks a person. Without one nothing is asked: an unknown host key
	// is refused and an encrypted key is not used.
	Prompter Prompter

	ConnectTimeout   time.Duration // for TCP, each hop
	HandshakeTimeout time.Duration // for key exchange and login, without the time that people take
	KeepAlive        time.Duration // between signs of life; the fourth silent one in a row ends the connection; negative: never

	// AcceptHostKeys are fingerprints ("SHA256:…") that answer the question about
	// an unknown host key in advance. They never excuse a mismatch.
	AcceptHostKeys []string
	// ForgetHostKeys keeps accepted host keys out of known_hosts: this Dialer
	// remembers them, nobody else does. For servers about to be replaced.
	ForgetHostKeys bool

	// NetDial replaces net.Dialer.DialContext for the first hop.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Home replaces the user's home folder as the place of .ssh.
	Home string

	memory memory
}

func (d *Dialer) connectTimeout() time.Duration {
	return cmp.Or(d.ConnectTimeout, DefaultConnectTimeout)
}

func (d *Dialer) handshakeTimeout() time.Duration {
	return cmp.Or(d.HandshakeTimeout, DefaultHandshakeTimeout)
}

func (d *Dialer) keepAlive() time.Duration {
	return cmp.Or(d.KeepAlive, DefaultKeepAlive)
}

// Dial logs in to t, through its jump hosts if it has any. Errors are one of
// [*IdentityError], [*UnreachableError], [*HostKeyMismatchError],
// [*UnknownHostKeyError] and [*AuthError], or wrap the context's. Closing the
// client closes the connections to the jump hosts as well.
func (d *Dialer) Dial(ctx context.Context, t Target) (*Client, error) {
	var via *Client
	for _, hop := range t.hops() {
		next, err := d.login(ctx, hop, via)
		if err != nil {
			closeIfAny(via)
			return nil, err
		}
		via = next
	}
	return via, nil
}

// Probe tells whether t's port accepts connections: it connects, logs in to jump
// hosts only, and hangs up. It returns nil or what Dial would.
func (d *Dialer) Probe(ctx context.Context, t Target) error {
	via, err := d.dialJumps(ctx, t)
	if err != nil {
		return err
	}
	defer closeIfAny(via)
	conn, err := d.connect(ctx, t, via)
	if err != nil {
		return err
	}
	return conn.Close()
}

// dialJumps logs in to all jump hosts of t and returns the last, nil if none.
func (d *Dialer) dialJumps(ctx context.Context, t Target) (*Client, error) {
	hops := t.hops()
	if len(hops) == 1 {
		return nil, nil
	}
	last := hops[len(hops)-2]
	last.Jumps = hops[:len(hops)-2]
	return d.Dial(ctx, last)
}

func closeIfAny(c *Client) {
	if c != nil {
		_ = c.Close()
	}
}

// login connects and authenticates one hop. What needs no network comes first,
// so that a missing key costs no connection.
func (d *Dialer) login(ctx context.Context, t Target, via *Client) (*Client, error) {
	keys, err := d.offers(ctx, t)
	if err != nil {
		return nil, err
	}
	policy, err := d.hostKeyPolicy(t)
	if err != nil {
		return nil, err
	}
	conn, err := d.connect(ctx, t, via)
	if err != nil {
		return nil, err
	}
	a := &attempt{d: d, target: t, via: via, keys: keys, policy: policy}
	return a.handshake(ctx, conn)
}

var errConnectTimeout = errors.New("no answer in time")

// connect opens a TCP connection to t, directly or through via.
func (d *Dialer) connect(ctx context.Context, t Target, via *Client) (net.Conn, error) {
	limited, cancel := context.WithTimeoutCause(ctx, d.connectTimeout(), errConnectTimeout)
	defer cancel()
	conn, err := d.dialFunc(via)(limited, "tcp", t.Addr())
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("connecting to %s: %w", t.name(), context.Cause(ctx))
	case limited.Err() != nil:
		err = errConnectTimeout
	}
	return nil, unreachable(t, via, err)
}

func (d *Dialer) dialFunc(via *Client) func(context.Context, string, string) (net.Conn, error) {
	switch {
	case via != nil:
		return via.ssh.DialContext
	case d.NetDial != nil:
		return d.NetDial
	default:
		return new(net.Dialer).DialContext
	}
}
