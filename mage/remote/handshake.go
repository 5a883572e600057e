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

	transport ssh.Config
	clock     *patience
	exchange  *time.Timer // ConnectTimeout; nil without
	login     *login
	banner    banner
}

// slowLogin is after which time a person is told that a login is still going on.
const slowLogin = 10 * time.Second

// personTime is what a login may take once the server asked for something that a
// person has to do elsewhere.
const personTime = 10 * time.Minute

// heard shows what a server says during the login, at once. Where that names a page
// to visit, the person gets the time for it.
func (a *attempt) heard(message string) {
	a.d.notice(a.target, message)
	if strings.Contains(message, "://") {
		a.clock.extend(personTime)
	}
}

// address is where the server was reached, if that was done here: a jump host
// resolves names by itself.
func (a *attempt) address(conn net.Conn) string {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if a.via != nil || a.d.NetDial != nil || !ok {
		return ""
	}
	host, _, err := net.SplitHostPort(tcp.String())
	if err != nil {
		return ""
	}
	return host
}

// handshake runs key exchange and login on conn, which it owns.
func (a *attempt) handshake(ctx context.Context, conn net.Conn) (*Client, error) {
	hctx, clock := newPatience(ctx, a.d.handshakeTimeout())
	defer clock.stop()
	a.clock = clock
	a.login = &login{ctx: hctx, d: a.d, target: a.target, clock: clock, offers: a.keys}
	link := &link{Conn: conn}
	a.banner.tooMuch = func() { _ = link.Close() }
	a.banner.heard = a.heard
	if a.via == nil {
		a.policy.remote = conn.RemoteAddr()
	}
	slow := time.AfterFunc(slowLogin, func() {
		a.d.notice(a.target, fmt.Sprintf("still logging in: %s is slow to answer", a.target.Addr()))
	})
	defer slow.Stop()
	if limit := a.target.Options.ConnectTimeout; limit > 0 {
		a.exchange = time.AfterFunc(limit, func() { clock.cancel(errConnectTimeout) })
		defer a.exchange.Stop()
	}

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
	if p := cmpOr(a.login.current, a.login.used); p != nil {
		a.d.memory.accepted(a.target.account(), p.PublicKey())
	}
	if ip := a.address(conn); ip != "" {
		a.d.memory.reach(a.target.host(), ip)
	}
	c := newClient(a, link, sc, chans, reqs)
	if a.policy.accepted {
		a.learnHostKeys(ctx, c)
	}
	return c, nil
}

// learnHostKeys records the server's other host keys at the first contact, so that
// a server that loses the one that was accepted is still known.
func (a *attempt) learnHostKeys(ctx context.Context, c *Client) {
	if a.d.ForgetHostKeys {
		return
	}
	keys, err := c.HostKeys(ctx)
	if err == nil && len(keys) > 1 {
		err = a.d.RecordHostKeys(a.target, keys[1:]...)
	}
	if err != nil {
		a.d.notice(a.target, fmt.Sprintf("the server's other host keys could not be recorded: %v", err))
	}
}

func (a *attempt) config(ctx context.Context) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User:              a.target.user(),
		ClientVersion:     clientVersion,
		Config:            a.transport,
		AuthCallback:      a.login.nextMethod,
		BannerCallback:    a.banner.add,
		HostKeyAlgorithms: a.policy.algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if a.exchange != nil {
				a.exchange.Stop()
			}
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
	case errors.Is(context.Cause(hctx), errHandshakeTimeout), errors.Is(context.Cause(hctx), errConnectTimeout):
		return a.timedOut(context.Cause(hctx))
	case errors.As(err, &negotiation) && strings.Contains(negotiation.What, "host key"):
		return a.otherKeyType(ctx, err)
	case a.login.started && reasonOf(err) == ReasonProtocol:
		return a.authError(err)
	default:
		return unreachable(a.target, a.via, err)
	}
}

// timedOut tells what the server said, since that may be what it waits for.
func (a *attempt) timedOut(why error) error {
	if said := a.banner.text(); said != "" {
		why = fmt.Errorf("%w; the server says: %s", why, said)
	}
	return unreachable(a.target, a.via, why)
}

func (a *attempt) authError(err error) *AuthError {
	a.login.settle(a.login.partial)
	return &AuthError{
		Name: a.target.name(), Addr: a.target.Addr(), User: a.target.user(),
		Tried: a.login.tried, Skipped: a.keys.skipped, Methods: printables(a.login.methods),
		TooMany: strings.Contains(strings.ToLower(err.Error()), "too many authentication failures"),
		Partial: printables(a.login.partial), Batch: a.target.Options.BatchMode, NotFollowed: tryable(a.target.Options.NotFollowed, a.login.methods),
		Banner: a.banner.text(), Err: err,
	}
}

// tryable drops the settings for methods that the server does not take anyway: some
// distributions set GSSAPIAuthentication for everybody.
func tryable(settings, methods []string) []string {
	return slices.DeleteFunc(slices.Clone(settings), func(setting string) bool {
		return strings.HasPrefix(setting, "GSSAPI") && !slices.Contains(methods, "gssapi-with-mic") ||
			strings.HasPrefix(setting, "Hostbased") && !slices.Contains(methods, "hostbased")
	})
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
	look := &attempt{d: a.d, target: a.target, via: a.via, keys: &offers{}, policy: a.policy.mismatchOnly(), transport: a.transport}
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
	heard   func(message string)
}

// add is the ssh.BannerCallback. Too much ends the connection instead of returning
// an error, so that the library's reader is drained and ends too.
func (b *banner) add(message string) error {
	b.total += len(message)
	if room := 4*maxErrorText - len(b.kept); room > 0 {
		message := message[:min(room, len(message))]
		b.kept = append(b.kept, message...)
		b.heard(message)
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

// extend makes what is left at least limit.
func (p *patience) extend(limit time.Duration) {
	p.pause()
	p.mu.Lock()
	p.left = max(p.left, limit)
	p.mu.Unlock()
	p.resume()
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
