package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// try logs in and hangs up.
func try(t testing.TB, d *Dialer, target Target) error {
	t.Helper()
	c, err := d.Dial(t.Context(), target)
	if err == nil {
		_ = c.Close()
		<-c.Done()
	}
	return err
}

func hintOf(t testing.TB, err error) string {
	t.Helper()
	var h interface{ NextStep() next.Step }
	require.ErrorAs(t, err, &h)
	return h.NextStep().String()
}

// startAgent serves keys on a socket and returns it.
func startAgent(t testing.TB, keys ...any) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		added, ok := k.(agent.AddedKey)
		if !ok {
			added = agent.AddedKey{PrivateKey: k, Comment: "me@laptop"}
		}
		require.NoError(t, ring.Add(added))
	}
	return listenAgent(t, func(conn net.Conn) { _ = agent.ServeAgent(ring, conn) })
}

func listenAgent(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "a") // t.TempDir is too long for a socket on macOS
	require.NoError(t, err)
	socket := filepath.Join(dir, "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	require.NoError(t, err)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { defer conn.Close(); serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); tasks.Wait(); _ = os.RemoveAll(dir) })
	return socket
}

func generate(t testing.TB) (ed25519.PrivateKey, ssh.PublicKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return private, signer.PublicKey()
}

func TestPassphraseIsAskedOnce(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", "sesame"))
	person := &asker{passphrase: always("sesame")}
	d := &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}
	var logins sync.WaitGroup
	for range 5 {
		logins.Go(func() { assert.NoError(t, try(t, d, s.pin())) })
	}
	logins.Wait()
	assert.Equal(t, []string{h.path("id_ed25519")}, person.asked)
	assert.Equal(t, 5, s.sawLogins())
}

func TestPassphraseIsNotAskedForAKeyTheServerDoesNotTake(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	h.addKey("id_ed25519", "sesame")
	s.allowed = append(s.allowed, h.addKey("id_rsa", ""))
	person := &asker{passphrase: always("sesame")}
	require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}, s.pin()))
	assert.Empty(t, person.asked)
}

func TestWrongPassphrase(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", "sesame"))
	person := &asker{passphrase: always("open")}
	d := &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}
	for range 2 { // the second login does not ask again
		var auth *AuthError
		require.ErrorAs(t, try(t, d, s.pin()), &auth)
		assert.Contains(t, auth.Error(), "id_ed25519: wrong passphrase")
		assert.Contains(t, auth.NextStep().String(), "ssh-add")
	}
	assert.Len(t, person.asked, passphraseTries)
	assert.Contains(t, person.asked[1], "wrong passphrase, try again")
}

func TestSecondPassphraseIsRight(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", "sesame"))
	person := &asker{}
	person.passphrase = func(_ context.Context, what string) ([]byte, error) {
		if strings.Contains(what, "again") {
			return []byte("sesame"), nil
		}
		return []byte("oops"), nil
	}
	require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}, s.pin()))
}

func TestAnotherKeyAfterAFailedPassphrase(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", "sesame"), h.addKey("id_rsa", ""))
	d := &Dialer{Home: h.dir, NetDial: s.dial}
	require.NoError(t, try(t, d, s.pin()), "without a terminal the second key still works")
}

func TestNoTerminalForThePassphrase(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", "sesame"))
	err := try(t, &Dialer{Home: h.dir, NetDial: s.dial}, s.pin())
	require.ErrorContains(t, err, "id_ed25519: needs its passphrase: no terminal to ask on")
	assert.Contains(t, hintOf(t, err), "ssh-add")
}

// An old encrypted PEM file does not show its public half: it is asked for first.
func TestLegacyEncryptedKey(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	//lint:ignore SA1019 what old keys look like
	block, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), []byte("sesame"), x509.PEMCipherAES128)
	require.NoError(t, err)
	h.write("id_rsa", string(pem.EncodeToMemory(block)))
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	s.allowed = append(s.allowed, signer.PublicKey())
	person := &asker{passphrase: always("sesame")}
	d := &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}
	require.NoError(t, try(t, d, s.pin()))
	require.NoError(t, try(t, d, s.pin()))
	assert.Len(t, person.asked, 1)
}

func TestAgentSparesThePassphrase(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	private, _ := generate(t)
	s.allowed = append(s.allowed, h.writeKey("mine", "sesame", private))
	target := s.pin()
	target.Identities = []string{"~/.ssh/mine"}
	target.IdentitiesOnly = true
	other, _ := generate(t)
	target.Agent = startAgent(t, other, private)
	require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target))
	assert.Len(t, s.sawKeys(), 1, "the agent's other key is kept back")
}

func TestAgentHoldsThePrivateHalfOfANamedPublicKey(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	private, public := generate(t)
	s.allowed = append(s.allowed, public)
	path := h.write("mine.pub", string(ssh.MarshalAuthorizedKey(public)))
	for _, named := range []string{path, strings.TrimSuffix(path, ".pub")} {
		target := s.pin()
		target.Identities = []string{named}
		target.Agent = startAgent(t, private)
		require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target))
		target.Agent = "none"
		var bad *IdentityError
		require.ErrorAs(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target), &bad)
		assert.NotEmpty(t, bad.NextStep().String())
	}
}

func TestHardwareKeyNeedsAnAgent(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	blob := ssh.Marshal(struct{ Type, Key, Application string }{"sk-ssh-ed25519@openssh.com", strings.Repeat("k", 32), "ssh:"})
	public, err := ssh.ParsePublicKey(blob)
	require.NoError(t, err)
	h.write("id_ed25519_sk", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
	h.write("id_ed25519_sk.pub", string(ssh.MarshalAuthorizedKey(public)))
	d := &Dialer{Home: h.dir}
	o, err := d.offers(t.Context(), Target{Agent: "none"})
	require.NoError(t, err)
	assert.Equal(t, []string{h.path("id_ed25519_sk") + ": a hardware key, and no agent holds it"}, o.skipped)
	o = &offers{held: []agentKey{{public: public}}}
	list, usable := o.fromFile(d.memory.keyFile(h.path("id_ed25519_sk")))
	require.True(t, usable)
	assert.NotNil(t, list[0].agent)
}

func TestAgentWithRSA(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	s.allowed = append(s.allowed, signer.PublicKey())
	target := s.pin()
	target.Agent = startAgent(t, private)
	require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target))
}

func TestOrderOfKeys(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	rsaKey, ed := h.addKey("id_rsa", ""), h.addKey("id_ed25519", "")
	one, two := h.addKey("one", ""), h.addKey("two", "")
	private, held := generate(t)
	socket := startAgent(t, private)
	for name, test := range map[string]struct {
		target Target
		want   []ssh.PublicKey
	}{
		"defaults":        {Target{Agent: "none"}, []ssh.PublicKey{rsaKey, ed}},
		"agent, defaults": {Target{Agent: socket}, []ssh.PublicKey{held, rsaKey, ed}},
		"explicit, agent": {Target{Agent: socket, Identities: []string{"~/.ssh/two", h.path("one")}}, []ssh.PublicKey{two, one, held}},
		"explicit only":   {Target{Agent: socket, Identities: []string{h.path("one")}, IdentitiesOnly: true}, []ssh.PublicKey{one}},
		"defaults only":   {Target{Agent: socket, IdentitiesOnly: true}, []ssh.PublicKey{rsaKey, ed}},
		"of ssh_config":   {Target{Agent: socket, Identities: []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa"}, SkipUnusable: true}, []ssh.PublicKey{held, rsaKey}},
		"none":            {Target{Agent: "none", Identities: []string{"none"}}, nil},
		"none, agent":     {Target{Agent: socket, Identities: []string{"none"}}, []ssh.PublicKey{held}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := (&Dialer{Home: h.dir}).offers(t.Context(), test.target)
			require.NoError(t, err)
			var got []ssh.PublicKey
			for _, offer := range o.list {
				got = append(got, offer.public)
			}
			assert.Equal(t, test.want, got)
			assert.Empty(t, o.skipped)
		})
	}
}

func TestCertificateGoesFirst(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	public, authority := h.addKey("id_ed25519", ""), newSigner(t)
	cert := &ssh.Certificate{Key: public, CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	require.NoError(t, cert.SignCert(rand.Reader, authority))
	h.write("id_ed25519-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
	s.allowed = append(s.allowed, cert)
	require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, s.pin()))
	assert.Equal(t, ssh.FingerprintSHA256(cert), s.sawKeys()[0])
}

// A certificate that belongs to another key must not hide the key.
func TestForeignCertificateIsIgnored(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	public := h.addKey("id_ed25519", "")
	cert := &ssh.Certificate{Key: newSigner(t).PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	require.NoError(t, cert.SignCert(rand.Reader, newSigner(t)))
	h.write("id_ed25519-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
	o, err := (&Dialer{Home: h.dir}).offers(t.Context(), Target{Agent: "none"})
	require.NoError(t, err)
	require.Len(t, o.list, 1)
	assert.Equal(t, public, o.list[0].public)
}

func TestUnusableExplicitIdentity(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.addKey("open", "")
	require.NoError(t, os.Chmod(h.path("open"), 0o644))
	h.write("garbage", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
	h.write("text", "hello")
	dialled := func(context.Context, string, string) (net.Conn, error) {
		t.Error("connected although no login was possible")
		return nil, os.ErrInvalid
	}
	for path, want := range map[string]struct{ err, hint string }{
		h.path("absent"):  {"does not exist", "vps.yaml"},
		h.path("open"):    {"mode 0644 lets others read it", "chmod 600 " + h.path("open")},
		h.path("garbage"): {"not an SSH private key", "vps.yaml"},
		h.path("text"):    {"not an SSH private key", "vps.yaml"},
		h.dir:             {"not a regular file", "vps.yaml"},
	} {
		err := try(t, &Dialer{Home: h.dir, NetDial: dialled},
			Target{Name: "web-1", Address: "192.0.2.1", Agent: "none", Identities: []string{path}})
		var bad *IdentityError
		require.ErrorAs(t, err, &bad)
		assert.ErrorContains(t, err, `"`+path+`" for web-1`)
		assert.ErrorContains(t, err, want.err)
		assert.Contains(t, bad.NextStep().String(), want.hint)
	}
}

func TestDefaultKeyThatOthersCanRead(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
	require.NoError(t, os.Chmod(h.path("id_ed25519"), 0o640))
	err := try(t, &Dialer{Home: h.dir, NetDial: s.dial}, s.pin())
	require.ErrorContains(t, err, "there is no key to offer; not used: "+h.path("id_ed25519")+": mode 0640 lets others read it")
	assert.Contains(t, hintOf(t, err), "chmod 600")
	assert.Empty(t, s.sawKeys())
}

func TestNoKeyIsAccepted(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	h.addKey("id_ed25519", "")
	s.banner = "\x1b[31mGo away\x07\n"
	err := try(t, &Dialer{Home: h.dir, NetDial: s.dial}, s.pin())
	var auth *AuthError
	require.ErrorAs(t, err, &auth)
	assert.Equal(t, "logging in to web-1 as root (192.0.2.1:22): no key was accepted; offered: "+
		h.path("id_ed25519")+"; the server says: Go away", err.Error())
	assert.Contains(t, auth.NextStep().String(), "authorized_keys")
}

func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.maxTries = 2
	for _, name := range defaultKeys[:3] {
		h.addKey(name, "")
	}
	err := try(t, &Dialer{Home: h.dir, NetDial: s.dial}, s.pin())
	var auth *AuthError
	require.ErrorAs(t, err, &auth)
	assert.True(t, auth.TooMany)
	assert.ErrorContains(t, err, "allows no more tries after 2 keys")
	assert.Contains(t, auth.NextStep().String(), "IdentitiesOnly")
}

func TestServerWantsAPassword(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.password = true
	h.addKey("id_ed25519", "")
	err := try(t, &Dialer{Home: h.dir, NetDial: s.dial}, s.pin())
	require.ErrorContains(t, err, "does not accept public keys (only password)")
	assert.Contains(t, hintOf(t, err), "PubkeyAuthentication")
}

func TestBrokenAgentIsANote(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	target := s.pin()
	target.Agent = filepath.Join(h.dir, "nobody")
	d := &Dialer{Home: h.dir, NetDial: s.dial}
	require.ErrorContains(t, try(t, d, target), `agent at "`+target.Agent+`"`)
	s.allowed = append(s.allowed, h.addKey("id_ecdsa_sk", "")) // any name not read yet
	target.Identities = []string{h.path("id_ecdsa_sk")}
	require.NoError(t, try(t, &Dialer{Home: h.dir, NetDial: s.dial}, target))
}

func TestSilentAgentDoesNotHoldACancelledLogin(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	socket := listenAgent(t, func(conn net.Conn) {
		cancel()
		_, _ = conn.Read(make([]byte, 100))
		_, _ = conn.Read(make([]byte, 100)) // until the client hangs up
	})
	_, err := (&Dialer{Home: t.TempDir()}).Dial(ctx, Target{Address: "192.0.2.1", Agent: socket})
	require.ErrorIs(t, err, context.Canceled)
}

func TestAgentSocket(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "/run/agent")
	t.Setenv("OTHER_AGENT", "/run/other")
	d := &Dialer{Home: "/home/me"}
	for in, want := range map[string]string{"": "/run/agent", "SSH_AUTH_SOCK": "/run/agent", "none": "", "NONE": "",
		"$OTHER_AGENT": "/run/other", "${OTHER_AGENT}": "/run/other", "~/a": "/home/me/a", "/x": "/x"} {
		assert.Equal(t, want, d.agentSocket(Target{Agent: in}), in)
	}
}

// Keeps away: advice about keys where the server accepted one and wants more.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	s, h := newServer(t), newHome(t)
	s.second = true
	s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
	for _, person := range []Prompter{nil, &asker{}} {
		err := try(t, &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}, s.pin())
		var auth *AuthError
		require.ErrorAs(t, err, &auth)
		assert.Equal(t, []string{"publickey"}, auth.Partial)
		assert.ErrorContains(t, err, "the server accepted publickey, and wants one more factor: keyboard-interactive")
		assert.Contains(t, hintOf(t, err), "on a terminal")
	}

	var asked []Challenge
	person := &asker{answer: func(_ context.Context, c Challenge) ([]string, error) {
		asked = append(asked, c)
		return []string{[]string{"41", "42"}[min(len(asked), 2)-1], "x"}, nil
	}}
	d := &Dialer{Home: h.dir, NetDial: s.dial, Prompter: person}
	c, err := d.Dial(t.Context(), s.pin())
	require.NoError(t, err)
	require.NotNil(t, c.LoginKey(), "the key was part of it")
	require.NoError(t, c.Close())
	<-c.Done()
	want := Challenge{Name: "web-1", User: "root", Text: "Bank Look at your phone", Questions: []Question{{Text: "Code:"}, {Text: "Name:", Echo: true}}}
	assert.Equal(t, []Challenge{want, want}, asked, "a wrong answer may be corrected; what the server says is cleaned")
}
