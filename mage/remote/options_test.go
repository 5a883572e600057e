package remote

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Keeps away: SHA-1, which the library offers by default for key exchange and MAC.
func TestNothingOfSHA1IsOffered(t *testing.T) {
	t.Parallel()
	c, err := transport(Target{})
	require.NoError(t, err)
	offered := append(append(c.KeyExchanges, c.MACs...), c.Ciphers...)
	offered = append(append(offered, plainAlgorithms()...), certAlgorithms()...)
	for _, a := range offered {
		assert.NotContains(t, a, "sha1")
		assert.NotContains(t, []string{"ssh-rsa", "ssh-rsa-cert-v01@openssh.com"}, a)
	}
	assert.NotEmpty(t, c.MACs, "nil would mean the library's own")

	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	assert.Equal(t, []string{"rsa-sha2-512", "rsa-sha2-256"}, signatures(Target{}, signer.PublicKey()))

	for keyword, o := range map[string]Options{
		"KexAlgorithms": {KexAlgorithms: []string{"diffie-hellman-group14-sha1"}},
		"MACs":          {MACs: []string{"hmac-sha1"}, Ciphers: []string{"aes128-ctr"}},
		"Ciphers":       {Ciphers: []string{"3des-cbc"}},
	} {
		_, err := transport(Target{Name: "web-1", Options: o})
		require.ErrorIs(t, err, errNoAlgorithm)
		require.ErrorContains(t, err, keyword)
		assert.Contains(t, hintOf(t, err), keyword)
	}
}

// Debian's ssh_config has GSSAPIAuthentication yes for everybody.
func TestNotFollowedIsToldWhereItCouldHelp(t *testing.T) {
	t.Parallel()
	settings := []string{"GSSAPIAuthentication yes", "HostbasedAuthentication yes", "PKCS11Provider /x.so"}
	assert.Equal(t, settings[2:], tryable(settings, []string{"publickey"}))
	assert.Equal(t, settings, tryable(settings, []string{"publickey", "gssapi-with-mic", "hostbased"}))
	s, h := newServer(t), newHome(t)
	h.addKey("id_ed25519", "")
	target := s.pin()
	target.Options.NotFollowed = settings
	require.ErrorContains(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target), "(not supported here, from ssh_config: PKCS11Provider /x.so)")
}

func TestKnownWithoutAPort(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.knows(keyLine("web.example", v.key()))
	require.NoError(t, try(t, v.dialer, v.target), "as in ssh, for any port")

	v.knows(keyLine("web.example", newSigner(t).PublicKey()))
	require.ErrorAs(t, try(t, v.dialer, v.target), new(*UnknownHostKeyError), "another key there says nothing of this port")

	v.knows(keyLine("web.example", v.key()) + "\n" + keyLine("[web.example]:2222", newSigner(t).PublicKey()))
	require.ErrorAs(t, try(t, v.dialer, v.target), new(*HostKeyMismatchError), "the line with the port decides")
}

// Keeps away: "none" read as "not given", so that a host was trusted where ssh
// refuses.
func TestNoKnownHostsMeansNone(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.knows(keyLine("[web.example]:2222", v.key()))
	v.target.KnownHosts = []string{"none"}
	require.ErrorAs(t, try(t, v.dialer, v.target), new(*UnknownHostKeyError))
	v.dialer.AcceptHostKeys = []string{ssh.FingerprintSHA256(v.key())}
	require.NoError(t, try(t, v.dialer, v.target), "and there is nothing to record in")
	_, err := v.dialer.ReplaceHostKeys(v.target, nil, keyLine("", v.key()))
	require.ErrorIs(t, err, ErrNoKnownHosts)
}

func TestStrictHostKeyChecking(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.person.trust = func(context.Context, HostKeyQuestion) (bool, error) { return true, nil }
	strict := v.target
	strict.Options.StrictHostKeyCheck = "yes"
	err := try(t, v.dialer, strict)
	require.ErrorContains(t, err, "StrictHostKeyChecking yes")
	assert.Empty(t, v.person.questions)
	assert.NotContains(t, hintOf(t, err), "terminal")

	follows := v.target
	follows.Options.NotFollowedHostKeys = []string{"StrictHostKeyChecking no"}
	require.ErrorContains(t, try(t, &Dialer{Home: v.home.dir, NetDial: v.dial}, follows), "StrictHostKeyChecking no")

	accepts := v.target
	accepts.Options.StrictHostKeyCheck, accepts.Options.HashKnownHosts = "accept-new", true
	told := ""
	require.NoError(t, try(t, &Dialer{Home: v.home.dir, NetDial: v.dial, Notice: func(_, text string) { told += text }}, accepts))
	assert.Contains(t, told, "accept-new in ssh_config says: ssh-ed25519 "+ssh.FingerprintSHA256(v.key()))
	text, err := os.ReadFile(v.home.path("known_hosts"))
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(text), "|1|"), "HashKnownHosts")
	require.NoError(t, try(t, &Dialer{Home: v.home.dir, NetDial: v.dial}, strict), "known from now on")
}

func TestCheckHostIP(t *testing.T) {
	t.Parallel()
	v := newVisit(t) // answers at 127.0.0.1, as far as its connections say
	v.target.Options.CheckHostIP = true
	v.knows(keyLine("[web.example]:2222", v.key()))
	require.NoError(t, try(t, v.dialer, v.target))
	v.knows(keyLine("[web.example]:2222,[127.0.0.1]:2222", v.key()))
	require.NoError(t, try(t, v.dialer, v.target))
	v.knows(keyLine("[web.example]:2222", v.key()) + "\n" + keyLine("[127.0.0.1]:2222", newSigner(t).PublicKey()))
	require.ErrorAs(t, try(t, v.dialer, v.target), new(*HostKeyMismatchError))
}

func TestBatchModeAsksNothing(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", "sesame"))
	person := &asker{passphrase: always("sesame")}
	target := s.pin()
	target.Options.BatchMode = true
	require.ErrorAs(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}, target), new(*AuthError))
	assert.Empty(t, person.asked)
}

// Keys of ssh_config that cannot be used are passed over, as by ssh; that of
// vps.yaml is an error (TestUnusableExplicitIdentity).
func TestUnusableIdentityOfSSHConfig(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("good", ""))
	h.addKey("open", "")
	require.NoError(t, os.Chmod(h.path("open"), 0o644))
	h.write("empty", "")
	h.write("putty", "PuTTY-User-Key-File-3: ssh-ed25519\n")
	h.write("pkcs8", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	require.NoError(t, os.Mkdir(h.path("folder"), 0o700))
	target := s.pin()
	target.SkipUnusable = true
	for _, name := range []string{"absent", "open", "empty", "putty", "pkcs8", "folder", "good"} {
		target.Identities = append(target.Identities, h.path(name))
	}
	d := &Dialer{Home: h.dir, NetDial: s.dial}
	require.NoError(t, try(t, d, target))
	o, err := d.offers(t.Context(), target)
	require.NoError(t, err)
	skipped := strings.Join(o.skipped, "\n")
	for _, why := range []string{"0644 lets others read it", "empty", "PuTTY's", "PKCS#8", "not a regular file"} {
		assert.Contains(t, skipped, why)
	}
	target.Identities, target.SkipUnusable = []string{h.path("putty")}, false
	require.ErrorAs(t, try(t, d, target), new(*IdentityError))
}

func TestNamedCertificate(t *testing.T) {
	t.Parallel()
	private, public := generate(t)
	cert := &ssh.Certificate{Key: public, CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	require.NoError(t, cert.SignCert(rand.Reader, newSigner(t)))
	for name, set := range map[string]func(h home, target *Target){
		"file": func(h home, target *Target) {
			h.writeKey("u", "", private)
			target.Identities = []string{h.path("u")}
		},
		"agent": func(h home, target *Target) {
			target.Agent, target.IdentitiesOnly = startAgent(h.t, private), true
			target.Identities = []string{h.write("u.pub", keyLine("", public))}
		},
		"agent alone": func(h home, target *Target) { target.Agent = startAgent(h.t, private) },
		"held by an agent": func(h home, target *Target) {
			target.Agent = startAgent(h.t, agent.AddedKey{PrivateKey: private, Certificate: cert})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, h := newServer(t), newHome(t)
			s.allowed = append(s.allowed, cert)
			target := s.pin()
			target.Certificates = []string{h.write("signed.pub", keyLine("", cert))}
			set(home{t, h.dir}, &target)
			require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target))
			assert.Equal(t, ssh.FingerprintSHA256(cert), s.sawKeys()[0], "before any plain key")
		})
	}
}

// Keeps away: nine keys in an agent, of which the server allows the right one no
// try.
func TestAgentKeysThatAreIdentitiesGoFirst(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.maxTries = 2
	right, public := generate(t)
	var held []any
	for range 8 {
		decoy, _ := generate(t)
		held = append(held, decoy)
	}
	h.writeKey("id_ed25519", "", right)
	s.allowed = append(s.allowed, public)
	target := s.pin()
	target.Agent = startAgent(t, append(held, right)...)
	require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target))
	assert.Equal(t, ssh.FingerprintSHA256(public), s.sawKeys()[0])
}

func TestRequiredRSASize(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	s.allowed = append(s.allowed, h.writeKey("id_rsa", "", private))
	target := s.pin()
	require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target))
	target.Options.RequiredRSASize = 3072
	require.ErrorContains(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target), "2048 bits, fewer than RequiredRSASize")

	s.hostKeys[0], err = ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	target.HostKey = keyLine("", s.hostKeys[0].PublicKey())
	require.ErrorContains(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target), "host key of web-1")
}

// A name may have several addresses, or lose the one it has: later logins go where
// the first one was verified.
func TestLaterLoginsGoToTheSameAddress(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.tasks.Go(func() { s.serve(conn) })
		}
	}()
	target := s.pin()
	target.Address, target.Port = "localhost", l.Addr().(*net.TCPAddr).Port
	d := &Dialer{Home: h.dir}
	require.NoError(t, try(t, d, target))
	assert.Equal(t, "127.0.0.1", d.memory.address("LOCALHOST"))
	d.memory.reached["localhost"] = "127.0.0.9" // as if the first login had been there
	var un *UnreachableError
	require.ErrorAs(t, try(t, d, target), &un)
	assert.ErrorContains(t, err2(un), "127.0.0.9")
}

func err2(e *UnreachableError) error { return e.Err }

// Keeps away: a login given up after twenty seconds, with what the server says
// untold; and text of its that paints on the terminal.
func TestBannerIsShownAtOnceAndWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		s := newServer(t)
		s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
		s.banner = "# One more check.\n\x1b[31m# Visit https://login.example.com/a/123\n\n"
		s.slow = 5 * time.Minute
		start := time.Now()
		var mu sync.Mutex
		told := map[string]time.Duration{}
		d := &Dialer{Home: h.dir, NetDial: s.dial, Notice: func(host, text string) {
			mu.Lock()
			defer mu.Unlock()
			told[host+": "+text] = time.Since(start)
		}}
		require.NoError(t, try(t, d, s.pin()))
		assert.GreaterOrEqual(t, time.Since(start), 5*time.Minute)
		mu.Lock()
		assert.Equal(t, time.Duration(0), told["web-1: # Visit https://login.example.com/a/123"])
		assert.Contains(t, told, "web-1: # One more check.")
		mu.Unlock()

		s.banner = "Authorized use only\n" // names nothing to do
		require.ErrorContains(t, try(t, d, s.pin()), "the server says: Authorized use only")
	})
}

func TestASlowLoginIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		s := newServer(t)
		s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
		s.slow = 100 * time.Second
		told := make(chan string, 9)
		d := &Dialer{Home: h.dir, NetDial: s.dial, Notice: func(_, text string) { told <- text }}
		require.NoError(t, try(t, d, s.pin()))
		require.Len(t, told, 1)
		assert.Equal(t, "still logging in: 192.0.2.1:22 is slow to answer", <-told)
	})
}

// ConnectTimeout is over with the key exchange, as in ssh.
func TestConnectTimeoutOfSSHConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		s := newServer(t)
		s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
		s.slow = 30 * time.Second
		target := s.pin()
		target.Options.ConnectTimeout = 7 * time.Second
		d := &Dialer{Home: h.dir, NetDial: s.dial}
		require.NoError(t, try(t, d, target))

		s.raw = func(conn net.Conn) { _, _ = conn.Read(make([]byte, 100)); _, _ = conn.Read(make([]byte, 1)) }
		start := time.Now()
		var un *UnreachableError
		require.ErrorAs(t, try(t, d, target), &un)
		assert.Equal(t, ReasonTimeout, un.Reason)
		assert.Equal(t, 7*time.Second, time.Since(start))
	})
}

func TestConnectionAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		s := newServer(t)
		s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
		target, tries := s.pin(), 0
		target.Options.ConnectionAttempts = 3
		d := &Dialer{Home: h.dir, NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if tries++; tries < 3 {
				return nil, errors.New("not yet")
			}
			return s.dial(ctx, network, addr)
		}}
		require.NoError(t, try(t, d, target))
		assert.Equal(t, 3, tries)
	})
}

// An agent may wait for its person; who looks at the terminal is told.
func TestSlowAgentIsAwaited(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	private, public := generate(t)
	s.allowed = append(s.allowed, public)
	ring := agent.NewKeyring()
	require.NoError(t, ring.Add(agent.AddedKey{PrivateKey: private}))
	told := make(chan string, 9)
	target := s.pin()
	target.Agent = listenAgent(t, func(conn net.Conn) {
		assert.Contains(t, <-told, "waiting for the SSH agent") // it is unlocked only then
		told <- "waiting for the SSH agent"
		_ = agent.ServeAgent(ring, conn)
	})
	d := &Dialer{Home: h.dir, NetDial: s.dial, Notice: func(_, text string) { told <- text }}
	require.NoError(t, try(t, d, target))
}
