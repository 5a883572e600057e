package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// clientVersion is what servers write into their logs about us.
const clientVersion = "SSH-2.0-vps"

// attempt is one login on one connection.
type attempt struct {
	d      *Dialer
	target Target
	via    *Client
	keys   *offers
	policy *hostKeyPolicy

	clock  *patience
	login  *login
	banner banner
}

// handshake runs key exchange and login on conn, which it owns.
func (a *attempt) handshake(ctx context.Context, conn net.Conn) (*Client, error) {
	hctx, clock := newPatience(ctx, a.d.handshakeTimeout())
	defer clock.stop()
	a.clock = clock
	a.login = &login{ctx: hctx, d: a.d, clock: clock, offers: a.keys}
	link := &link{Conn: conn}
	a.banner.tooMuch = func() { _ = link.Close() }

	unhook := context.AfterFunc(hctx, func() { _ = link.Close() })
	sc, chans, reqs, err := ssh.NewClientConn(link, a.target.Addr(), a.config(hctx))
	if !unhook() && err == nil {
		err = context.Cause(hctx)
		_ = link.Close()
		discard(chans, reqs)
	}
	if err != nil {
		return nil, a.explain(ctx, hctx, err)
	}
	if p := a.login.current; p != nil {
		a.d.memory.accepted(a.target.account(), p.PublicKey())
	}
	return newClient(a, link, sc, chans, reqs), nil
}

func (a *attempt) config(ctx context.Context) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User:              a.target.user(),
		ClientVersion:     clientVersion,
		AuthCallback:      a.login.nextKey,
		BannerCallback:    a.banner.add,
		HostKeyAlgorithms: a.policy.algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			return a.policy.verify(ctx, a.clock, key)
		},
	}
}

// explain finds out why a handshake failed. What we decided ourselves comes
// first: the library's error then only says that the connection was closed.
func (a *attempt) explain(ctx, hctx context.Context, err error) error {
	negotiation := new(ssh.AlgorithmNegotiationError)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("logging in to %s: %w", a.target.name(), context.Cause(ctx))
	case a.policy.refusal != nil:
		return a.policy.refusal
	case a.login.stop != nil && hctx.Err() == nil:
		return fmt.Errorf("logging in to %s: %w", a.target.name(), a.login.stop)
	case a.banner.err != nil:
		return a.authError(a.banner.err)
	case errors.Is(context.Cause(hctx), errHandshakeTimeout):
		return unreachable(a.target, a.via, errHandshakeTimeout)
	case errors.As(err, &negotiation) && strings.Contains(negotiation.What, "host key"):
		return a.otherKeyType(ctx, err)
	case a.login.started && reasonOf(err) == ReasonProtocol:
		return a.authError(err)
	default:
		return unreachable(a.target, a.via, err)
	}
}

func (a *attempt) authError(err error) *AuthError {
	a.login.settle()
	return &AuthError{
		Name: a.target.name(), Addr: a.target.Addr(), User: a.target.user(),
		Tried: a.login.tried, Skipped: a.keys.skipped, Methods: printables(a.login.methods),
		TooMany: strings.Contains(strings.ToLower(err.Error()), "too many authentication failures"),
		Banner:  a.banner.text(), Err: err,
	}
}

// otherKeyType handles a server that has no key of a type known for it. That is a
// mismatch as well; a second connection fetches the key, for its fingerprint.
func (a *attempt) otherKeyType(ctx context.Context, err error) error {
	if len(a.policy.known) == 0 {
		return unreachable(a.target, a.via, err)
	}
	conn, dialErr := a.d.connect(ctx, a.target, a.via)
	if dialErr != nil {
		return unreachable(a.target, a.via, err)
	}
	look := &attempt{d: a.d, target: a.target, via: a.via, keys: &offers{}, policy: a.policy.mismatchOnly()}
	if _, err := look.handshake(ctx, conn); look.policy.refusal != nil || ctx.Err() != nil {
		return err
	}
	return unreachable(a.target, a.via, err)
}

func printables(texts []string) []string {
	out := slices.Clone(texts[:min(len(texts), 10)])
	for i, s := range out {
		out[i] = printable(s, 40)
	}
	return out
}

// discard serves a connection that nobody wants, until it is closed.
func discard(chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
	go ssh.DiscardRequests(reqs)
	go func() {
		for ch := range chans {
			_ = ch.Reject(ssh.Prohibited, "")
		}
	}()
}

// maxBanner is how many bytes of greetings a server may send before a login; far
// more than any message of the day.
const maxBanner = 64 << 10

var errBannerTooLong = errors.New("the server's greeting never ends")

// banner keeps the start of what a server says before the login.
type banner struct {
	kept    []byte
	total   int
	err     error
	tooMuch func() // closes the connection
}

// add is the ssh.BannerCallback. Too much ends the connection instead of returning
// an error, so that the library's reader is drained and ends too.
func (b *banner) add(message string) error {
	b.total += len(message)
	if room := 4*maxErrorText - len(b.kept); room > 0 {
		b.kept = append(b.kept, message[:min(room, len(message))]...)
	}
	if b.total > maxBanner && b.err == nil {
		b.err = errBannerTooLong
		b.tooMuch()
	}
	return nil
}

func (b *banner) text() string { return printable(string(b.kept), maxErrorText) }

var errHandshakeTimeout = errors.New("connected, but the server did not finish the SSH handshake in time")

// patience is a timeout that can be paused while a person thinks.
type patience struct {
	mu     sync.Mutex
	timer  *time.Timer
	left   time.Duration
	since  time.Time
	pauses int
	cancel context.CancelCauseFunc
}

// newPatience returns a context that ends with errHandshakeTimeout once limit has
// passed outside of pauses. stop must be called.
func newPatience(ctx context.Context, limit time.Duration) (context.Context, *patience) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{left: limit, since: time.Now(), cancel: cancel}
	p.timer = time.AfterFunc(limit, p.expire)
	return ctx, p
}

func (p *patience) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pauses == 0 {
		p.cancel(errHandshakeTimeout)
	}
}

func (p *patience) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pauses++; p.pauses == 1 {
		p.timer.Stop()
		p.left -= time.Since(p.since)
	}
}

func (p *patience) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pauses--; p.pauses == 0 {
		p.since = time.Now()
		p.timer.Reset(max(p.left, 0))
	}
}

func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pauses++ // a timer that fires after this is ignored
	p.timer.Stop()
	p.cancel(nil)
}
