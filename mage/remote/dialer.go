package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults of a Dialer whose fields are zero.
const (
	DefaultConnectTimeout   = 10 * time.Second
	DefaultHandshakeTimeout = 2 * time.Minute // as sshd's LoginGraceTime
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

	// Notice, if set, is given what a person should know during a login: what the
	// server says, that an agent is waited for. text has no control characters; it
	// is called from several goroutines, and once for each text.
	Notice func(host, text string)

	// NetDial replaces net.Dialer.DialContext for the first hop.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Home replaces the user's home folder, see [HomeDir], as the place of .ssh.
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
	_ = conn.Close() // the other end may have been first
	return nil
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
	algorithms, err := transport(t)
	if err != nil {
		return nil, err
	}
	conn, err := d.connect(ctx, t, via)
	if err != nil {
		return nil, err
	}
	a := &attempt{d: d, target: t, via: via, keys: keys, policy: policy, transport: algorithms}
	return a.handshake(ctx, conn)
}

var errConnectTimeout = errors.New("no answer in time")

// connect opens a TCP connection to t, directly or through via.
func (d *Dialer) connect(ctx context.Context, t Target, via *Client) (conn net.Conn, err error) {
	for try := range max(t.Options.ConnectionAttempts, 1) {
		if try > 0 && pause(ctx, time.Second) != nil {
			break
		}
		if conn, err = d.connectOnce(ctx, t, via); err == nil || ctx.Err() != nil {
			return conn, err
		}
	}
	return nil, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *Dialer) connectOnce(ctx context.Context, t Target, via *Client) (net.Conn, error) {
	limit := cmp.Or(t.Options.ConnectTimeout, d.connectTimeout())
	limited, cancel := context.WithTimeoutCause(ctx, limit, errConnectTimeout)
	defer cancel()
	conn, err := d.dialTo(limited, t, via)
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

func (d *Dialer) dialTo(ctx context.Context, t Target, via *Client) (net.Conn, error) {
	switch {
	case via != nil:
		return via.ssh.DialContext(ctx, "tcp", t.Addr())
	case d.NetDial != nil:
		return d.NetDial(ctx, "tcp", t.Addr())
	}
	network := map[string]string{"inet": "tcp4", "inet6": "tcp6"}[t.Options.AddressFamily]
	network = cmp.Or(network, "tcp")
	from, err := localAddresses(ctx, t, network)
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(d.memory.address(t.host()), strconv.Itoa(t.port()))
	var conn net.Conn
	for _, local := range from {
		dialer := net.Dialer{}
		if local != nil {
			dialer.LocalAddr = local
		}
		if conn, err = dialer.DialContext(ctx, network, addr); err == nil {
			break
		}
	}
	return conn, err
}

// localAddresses are what to connect from, one after the other: BindAddress, the
// addresses of BindInterface, or whatever the system chooses (nil).
func localAddresses(ctx context.Context, t Target, network string) ([]*net.TCPAddr, error) {
	var found []*net.TCPAddr
	switch o := t.Options; {
	case o.BindAddress != "":
		ips, err := net.DefaultResolver.LookupIPAddr(ctx, o.BindAddress)
		if err != nil {
			return nil, fmt.Errorf("BindAddress of ssh_config: %w", err)
		}
		for _, ip := range ips {
			found = append(found, &net.TCPAddr{IP: ip.IP, Zone: ip.Zone})
		}
	case o.BindInterface != "":
		iface, err := net.InterfaceByName(o.BindInterface)
		if err != nil {
			return nil, fmt.Errorf("BindInterface %s of ssh_config: %w", o.BindInterface, err)
		}
		addrs, err := iface.Addrs()
		if err != nil {
			return nil, fmt.Errorf("BindInterface %s of ssh_config: %w", o.BindInterface, err)
		}
		for _, addr := range addrs {
			if ip, ok := addr.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
				found = append(found, &net.TCPAddr{IP: ip.IP})
			}
		}
	default:
		return []*net.TCPAddr{nil}, nil
	}
	found = slices.DeleteFunc(found, func(a *net.TCPAddr) bool {
		return network == "tcp4" && a.IP.To4() == nil || network == "tcp6" && a.IP.To4() != nil
	})
	if len(found) == 0 {
		return nil, fmt.Errorf("BindAddress or BindInterface of ssh_config has no address of the family that AddressFamily asks for")
	}
	return found, nil
}

// notice tells a person something, once, line by line.
func (d *Dialer) notice(t Target, text string) {
	if d.Notice == nil {
		return
	}
	for line := range strings.Lines(text) {
		line = printable(line, maxErrorText)
		if line != "" && d.memory.first(t.name()+"\x00"+line) {
			d.Notice(t.name(), line)
		}
	}
}
