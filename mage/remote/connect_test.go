package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// freePort returns a loopback port that nothing listens on.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().(*net.TCPAddr).Port
}

func TestRefusedPort(t *testing.T) {
	t.Parallel()
	target := Target{Name: "web-1", Address: "127.0.0.1", Port: freePort(t), Agent: "none"}
	d := &Dialer{Home: newHome(t).dir}
	for _, err := range []error{try(t, d, target), d.Probe(t.Context(), target)} {
		var un *UnreachableError
		require.ErrorAs(t, err, &un)
		assert.Equal(t, ReasonRefused, un.Reason)
		assert.ErrorContains(t, err, "connecting to web-1 ("+target.Addr()+"): ")
		assert.Contains(t, un.NextStep().String(), "sshd")
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, new(Dialer).Probe(t.Context(), Target{Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}))
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for reason, errs := range map[Reason][]error{
		ReasonName:     {&net.OpError{Err: &net.DNSError{IsTimeout: true}}},
		ReasonRefused:  {&net.OpError{Err: syscall.ECONNREFUSED}, &ssh.OpenChannelError{Reason: ssh.ConnectionFailed}},
		ReasonRoute:    {syscall.EHOSTUNREACH, syscall.ENETUNREACH},
		ReasonTimeout:  {errConnectTimeout, errHandshakeTimeout, &net.OpError{Err: syscall.ETIMEDOUT}},
		ReasonClosed:   {io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed},
		ReasonJump:     {&ssh.OpenChannelError{Reason: ssh.Prohibited}},
		ReasonProtocol: {errors.New("what is this")},
	} {
		for _, err := range errs {
			un := unreachable(Target{Address: "x"}, nil, err)
			assert.Equal(t, reason, un.Reason, err)
			assert.NotEmpty(t, un.NextStep().String())
			require.ErrorIs(t, un, err)
		}
	}
}

// deaf is a network that never answers.
func deaf(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	dir := newHome(t).dir
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var un *UnreachableError
		require.ErrorAs(t, try(t, &Dialer{Home: dir, NetDial: deaf}, Target{Address: "192.0.2.1", Agent: "none"}), &un)
		assert.Equal(t, ReasonTimeout, un.Reason)
		assert.Equal(t, DefaultConnectTimeout, time.Since(start))
	})
}

func TestCancelledConnect(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	d := &Dialer{Home: newHome(t).dir, NetDial: func(ctx context.Context, n, a string) (net.Conn, error) {
		cancel(errors.New("Ctrl-C"))
		return deaf(ctx, n, a)
	}}
	_, err := d.Dial(ctx, Target{Name: "web-1", Address: "192.0.2.1", Agent: "none"})
	require.EqualError(t, err, "connecting to web-1: Ctrl-C")
}

// Each of these servers would hold us for ever, or fill our memory.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	dir := newHome(t).dir
	forever := func(b []byte) func(net.Conn) {
		return func(conn net.Conn) {
			for {
				if _, err := conn.Write(b); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	for name, test := range map[string]struct {
		raw  func(net.Conn)
		want Reason
	}{
		"says nothing":     {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, ReasonTimeout},
		"endless version":  {forever([]byte("SSH-2.0-aaaaaaaaaaaaaaa")), ReasonProtocol},
		"endless lines":    {forever([]byte("welcome\r\n")), ReasonProtocol},
		"speaks HTTP":      {func(conn net.Conn) { _, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, ReasonClosed},
		"hangs up":         {func(net.Conn) {}, ReasonClosed},
		"version, no more": {func(conn net.Conn) { _, _ = conn.Write([]byte("SSH-2.0-x\r\n")); _, _ = io.Copy(io.Discard, conn) }, ReasonTimeout},
		"garbage after it": {func(conn net.Conn) { _, _ = conn.Write([]byte("SSH-2.0-x\r\n")); forever(make([]byte, 1000))(conn) }, ReasonProtocol},
		"huge packet after it": {func(conn net.Conn) {
			_, _ = conn.Write([]byte("SSH-2.0-x\r\n"))
			forever(bytes.Repeat([]byte{0xff}, 1000))(conn)
		}, ReasonProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				s.raw = test.raw
				start := time.Now()
				var un *UnreachableError
				require.ErrorAs(t, try(t, &Dialer{Home: dir, NetDial: s.dial}, s.pin()), &un)
				assert.Equal(t, test.want, un.Reason, un)
				assert.LessOrEqual(t, time.Since(start), DefaultHandshakeTimeout)
			})
		})
	}
}

func TestEndlessGreeting(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.banner = strings.Repeat("\x1b[5mwelcome ", 20_000)
	err := try(t, &Dialer{Home: newHome(t).dir, NetDial: s.dial}, s.pin())
	require.ErrorIs(t, err, errBannerTooLong)
	assert.Less(t, len(err.Error()), 1000)
	assert.NotContains(t, err.Error(), "\x1b")
}

func TestGreetingIsKeptReadable(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.banner = "\x1b]0;title\x07Be \x1b[1mcareful\x1b[0m.\r\n"
	assert.Equal(t, "Be careful.", s.login(t).Banner())
}

// The time that a person takes is not the server's.
func TestPersonMayTakeTime(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	key := h.addKey("id_ed25519", "sesame")
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.allowed = append(s.allowed, key)
		person := &asker{
			passphrase: func(context.Context, string) ([]byte, error) { time.Sleep(time.Hour); return []byte("sesame"), nil },
			trust:      func(context.Context, HostKeyQuestion) (bool, error) { time.Sleep(time.Hour); return true, nil },
		}
		d := &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}
		target := Target{Address: "192.0.2.1", Agent: "none", GlobalKnownHosts: []string{"none"}}
		require.NoError(t, try(t, d, target))
		assert.Len(t, person.asked, 1)
		assert.Len(t, person.questions, 1)
	})
}

// A prompt that does not listen to its context does not hold up a cancelled login.
func TestCancelledPrompt(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"host key": "", "passphrase": "sesame"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, h := newServer(t), newHome(t)
			s.allowed = append(s.allowed, h.addKey("id_ed25519", key))
			ctx, cancel := context.WithCancel(t.Context())
			release := make(chan struct{})
			defer close(release)
			person := &asker{
				passphrase: func(context.Context, string) ([]byte, error) { cancel(); <-release; return nil, nil },
				trust: func(context.Context, HostKeyQuestion) (bool, error) {
					if key != "" {
						return true, nil
					}
					cancel()
					<-release
					return false, nil
				},
			}
			d := &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person, ForgetHostKeys: true}
			_, err := d.Dial(ctx, Target{Name: "web-1", Address: "192.0.2.1", Agent: "none", GlobalKnownHosts: []string{"none"}})
			require.EqualError(t, err, "logging in to web-1: context canceled")
		})
	}
}

// Ctrl-C read by the prompter itself ends the login as well.
func TestPersonGivesUp(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", "sesame"))
	person := &asker{passphrase: func(context.Context, string) ([]byte, error) { return nil, context.Canceled }}
	err := try(t, &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}, s.pin())
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "logging in to web-1")
}

// chain makes a target behind two jump hosts; each of the three has the same key.
func chain(t *testing.T) (*Dialer, Target, []*server) {
	t.Helper()
	h := newHome(t)
	key := h.addKey("id_ed25519", "")
	var servers []*server
	var targets []Target
	for i := range 3 {
		s := newServer(t)
		s.allowed = append(s.allowed, key)
		target := s.pin()
		target.Name, target.Address = "hop-"+strconv.Itoa(i), "hop"+strconv.Itoa(i)
		servers, targets = append(servers, s), append(targets, target)
	}
	for i, s := range servers[:2] {
		s.dials = map[string]*server{"hop" + strconv.Itoa(i+1): servers[i+1]}
	}
	// One jump host listed, the other one its own jump host: all forms in one.
	targets[1].Jumps = targets[:1]
	targets[2].Jumps = targets[1:2]
	return &Dialer{Home: h.dir, NetDial: servers[0].dial}, targets[2], servers
}

func TestJumpHosts(t *testing.T) {
	t.Parallel()
	d, target, servers := chain(t)
	servers[2].exec = func(c *command) { c.accept(); _, _ = c.Write([]byte("here")); c.exit(0); _ = c.Close() }
	c, err := d.Dial(t.Context(), target)
	require.NoError(t, err)
	out, err := c.Output(t.Context(), "x", nil, 100)
	require.NoError(t, err)
	assert.Equal(t, "here", string(out))
	require.NoError(t, d.Probe(t.Context(), target))
	first := c.via.via
	require.NoError(t, c.Close())
	<-first.Done()
	assert.Equal(t, []int{2, 2, 1}, []int{servers[0].sawLogins(), servers[1].sawLogins(), servers[2].sawLogins()})
}

func TestUnreachableBehindAJumpHost(t *testing.T) {
	t.Parallel()
	d, target, servers := chain(t)
	servers[1].leadNowhere()
	var un *UnreachableError
	require.ErrorAs(t, try(t, d, target), &un)
	assert.Equal(t, "hop-2", un.Name)
	assert.Equal(t, "hop-1", un.Via)
	assert.Equal(t, ReasonRefused, un.Reason)
	assert.ErrorContains(t, un, "connecting to hop-2 (hop2:22) through hop-1: ")

	_, err := d.Forward(t.Context(), Target{Address: "x", Jumps: []Target{{Address: "127.0.0.1", Port: freePort(t), HostKey: "bad"}}})
	require.Error(t, err)
}

func TestRefusalByAJumpHostNamesIt(t *testing.T) {
	t.Parallel()
	d, target, servers := chain(t)
	servers[1].allowed = nil
	var auth *AuthError
	require.ErrorAs(t, try(t, d, target), &auth)
	assert.Equal(t, "hop-1", auth.Name)
}

func TestForwardThroughJumpHosts(t *testing.T) {
	t.Parallel()
	d, target, servers := chain(t)
	f, err := d.Forward(t.Context(), target)
	require.NoError(t, err)
	defer f.Close()
	here := target
	here.Address, here.Port, here.Jumps = "127.0.0.1", f.Addr().Port, nil
	through := &Dialer{Home: d.Home}
	require.NoError(t, try(t, through, here))
	assert.NoError(t, f.Err())

	// The jump host goes away: the next connection logs in to it again.
	servers[0].cut()
	require.Eventually(t, func() bool { return try(t, through, here) == nil }, 10*time.Second, time.Millisecond)
	assert.Equal(t, 2, servers[1].sawLogins())

	servers[1].leadNowhere()
	require.Error(t, try(t, through, here))
	require.Error(t, f.Err())
	assert.Equal(t, 2, servers[1].sawLogins())
}

func TestForwardFromTheServer(t *testing.T) {
	t.Parallel()
	behind, s := newServer(t), newServer(t)
	behind.raw = func(conn net.Conn) { _, _ = conn.Write([]byte("hello")) }
	s.dials = map[string]*server{"localhost": behind}
	ctx, cancel := context.WithCancel(t.Context())
	f, err := s.login(t).Forward(ctx, "localhost:80")
	require.NoError(t, err)
	assert.True(t, f.Addr().IP.IsLoopback())
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.Addr().String())
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(got))
	_ = conn.Close()
	cancel()
	require.NoError(t, f.Close())
	_, err = new(net.Dialer).DialContext(t.Context(), "tcp", f.Addr().String())
	require.Error(t, err)
}

// A server that sends another key in a later key exchange is cut off.
func TestHostKeyMayNotChangeLater(t *testing.T) {
	t.Parallel()
	a, b := newSigner(t).PublicKey(), newSigner(t).PublicKey()
	p := &hostKeyPolicy{d: &Dialer{}, target: Target{Name: "web-1"}, pinned: true, hosts: &knownHosts{}, known: []hostLine{{key: a}}}
	require.NoError(t, p.verify(t.Context(), nil, a))
	require.NoError(t, p.verify(t.Context(), nil, a))
	require.ErrorContains(t, p.verify(t.Context(), nil, b), "web-1 changed its host key")
}

func TestTargetDefaults(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "192.0.2.1:22", Target{Address: "192.0.2.1"}.Addr())
	assert.Equal(t, "[2001:db8::1]:2222", Target{Address: "2001:db8::1", Port: 2222}.Addr())
	assert.Equal(t, "[2001:db8::1]:22", Target{Address: "[2001:db8::1]"}.Addr())
	assert.Equal(t, "root@prod", Target{Address: "x", HostKeyAlias: "PROD"}.account())
	d := &Dialer{Home: "/home/me"}
	assert.Equal(t, []string{"/home/me", "/home/me/k", "~you/k", "/k"},
		[]string{d.expand("~"), d.expand("~/k"), d.expand("~you/k"), d.expand("/k")})
}

// Keeps away: keys looked for in one home and known_hosts in another. Container jobs
// and services have a HOME that is not the user's, or none; ssh does not care.
func TestHomeIsThatOfThePasswordFile(t *testing.T) {
	me, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Skip("this user is in no password file: ", err)
	}
	for _, value := range []string{t.TempDir(), ""} {
		t.Setenv("HOME", value)
		home, err := HomeDir()
		require.NoError(t, err)
		assert.Equal(t, me.HomeDir, home)
		assert.Equal(t, filepath.Join(me.HomeDir, ".ssh/known_hosts"), new(Dialer).userKnownHosts(Target{})[0])
	}
}
