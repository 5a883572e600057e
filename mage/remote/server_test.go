package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// server is an SSH server for tests. Its fields are set before it is used.
type server struct {
	t        testing.TB
	hostKeys []ssh.Signer
	allowed  []ssh.PublicKey
	maxTries int
	banner   string
	password bool          // accept passwords only
	second   bool          // after a key, ask a question, whose answer is "42"
	slow     time.Duration // before a key is looked at
	sftpDir  string
	exec     func(*command) // nil exits 0
	session  func(ssh.NewChannel)
	raw      func(net.Conn) // replaces all of SSH
	dials    map[string]*server

	mu      sync.Mutex
	offered []string // fingerprints of keys that clients asked about
	logins  int
	conns   []net.Conn
	tasks   sync.WaitGroup
}

// command is a request to run something.
type command struct {
	ssh.Channel
	line    string
	req     *ssh.Request
	signals chan string
}

func (c *command) accept() { _ = c.req.Reply(true, nil) }

func (c *command) exit(code uint32) {
	_, _ = c.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, hostKeys: []ssh.Signer{newSigner(t)}}
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
}

func (s *server) config() *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{MaxAuthTries: s.maxTries}
	for _, k := range s.hostKeys {
		cfg.AddHostKey(k)
	}
	if s.banner != "" {
		cfg.BannerCallback = func(ssh.ConnMetadata) string { return s.banner }
	}
	if s.password {
		cfg.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil }
		return cfg
	}
	cfg.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		time.Sleep(s.slow) // in bubbles alone
		s.mu.Lock()
		defer s.mu.Unlock()
		s.offered = append(s.offered, ssh.FingerprintSHA256(key))
		for _, a := range s.allowed {
			if sameKey(a, key) && s.second {
				return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: s.question}}
			}
			if sameKey(a, key) {
				return nil, nil
			}
		}
		return nil, errors.New("no")
	}
	return cfg
}

func (s *server) question(_ ssh.ConnMetadata, client ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	answers, err := client("Bank\x1b[31m", "Look at\nyour phone", []string{"Code: ", "Name: "}, []bool{false, true})
	if err != nil || answers[0] != "42" {
		return nil, errors.New("no")
	}
	_, err = client("", "", nil, nil) // as PAM ends it
	return nil, err
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	if s.raw != nil {
		s.raw(conn)
		return
	}
	sc, chans, reqs, err := ssh.NewServerConn(conn, s.config())
	if err != nil {
		return
	}
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	s.tasks.Go(func() {
		for r := range reqs {
			_ = r.Reply(false, nil)
		}
	})
	for nc := range chans {
		s.tasks.Go(func() { s.channel(nc) })
	}
	_ = sc.Close()
}

func (s *server) channel(nc ssh.NewChannel) {
	switch {
	case nc.ChannelType() == "direct-tcpip":
		s.direct(nc)
	case nc.ChannelType() != "session":
		_ = nc.Reject(ssh.UnknownChannelType, "")
	case s.session != nil:
		s.session(nc)
	default:
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		s.run(ch, reqs)
	}
}

func (s *server) run(ch ssh.Channel, reqs <-chan *ssh.Request) {
	c := &command{Channel: ch, signals: make(chan string, 10)}
	for r := range reqs {
		switch {
		case r.Type == "exec":
			var m struct{ Line string }
			_ = ssh.Unmarshal(r.Payload, &m)
			c.line, c.req = m.Line, r
			s.tasks.Go(func() { s.execute(c) })
		case r.Type == "subsystem" && s.sftpDir != "":
			_ = r.Reply(true, nil)
			srv, err := sftp.NewServer(ch, sftp.WithServerWorkingDirectory(s.sftpDir))
			if err == nil {
				s.tasks.Go(func() { _ = srv.Serve(); _ = ch.Close() })
			}
		case r.Type == "signal":
			var m struct{ Name string }
			_ = ssh.Unmarshal(r.Payload, &m)
			c.signals <- m.Name
		default:
			_ = r.Reply(false, nil)
		}
	}
}

func (s *server) execute(c *command) {
	if s.exec == nil {
		c.accept()
		c.exit(0)
		_ = c.Close()
		return
	}
	s.exec(c)
}

func (s *server) direct(nc ssh.NewChannel) {
	var m struct {
		Host     string
		Port     uint32
		From     string
		FromPort uint32
	}
	_ = ssh.Unmarshal(nc.ExtraData(), &m)
	s.mu.Lock()
	next := s.dials[m.Host]
	s.mu.Unlock()
	if next == nil {
		_ = nc.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	s.tasks.Go(func() { ssh.DiscardRequests(reqs) })
	near, far := newLink(0)
	s.tasks.Go(func() { next.serve(far) })
	s.tasks.Go(func() { _, _ = io.Copy(near, ch); _ = near.Close() })
	_, _ = io.Copy(ch, near)
	_ = ch.Close()
}

// dial is a Dialer.NetDial that reaches the server.
func (s *server) dial(context.Context, string, string) (net.Conn, error) {
	return s.connect(0), nil
}

func (s *server) connect(delay time.Duration) *end {
	client, far := newLink(delay)
	s.tasks.Go(func() { s.serve(far) })
	return client
}

// cut ends the first connection.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conns[0].Close()
}

// leadNowhere makes the server refuse further forwarding.
func (s *server) leadNowhere() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials = nil
}

func (s *server) sawKeys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.offered...)
}

func (s *server) sawLogins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// home is a user's home folder with its own .ssh.
type home struct {
	t   testing.TB
	dir string
}

func newHome(t testing.TB) home {
	t.Helper()
	h := home{t, t.TempDir()}
	require.NoError(t, os.Mkdir(filepath.Join(h.dir, ".ssh"), 0o700))
	return h
}

func (h home) path(name string) string { return filepath.Join(h.dir, ".ssh", name) }

func (h home) write(name, content string) string {
	h.t.Helper()
	require.NoError(h.t, os.WriteFile(h.path(name), []byte(content), 0o600))
	return h.path(name)
}

// addKey writes a key pair and returns its public half.
func (h home) addKey(name, passphrase string) ssh.PublicKey {
	h.t.Helper()
	if passphrase == "sesame" {
		content, public := sealedKey()
		h.write(name, content)
		return public
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(h.t, err)
	return h.writeKey(name, passphrase, private)
}

// sealedKey is a key with the passphrase "sesame", made once: that is slow.
var sealedKey = sync.OnceValues(func() (string, ssh.PublicKey) {
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("sesame"))
	if err != nil {
		panic(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(block)), signer.PublicKey()
})

func (h home) writeKey(name, passphrase string, private any) ssh.PublicKey {
	h.t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	require.NoError(h.t, err)
	h.write(name, string(pem.EncodeToMemory(block)))
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(h.t, err)
	return signer.PublicKey()
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return signer
}

// asker answers questions.
type asker struct {
	passphrase func(ctx context.Context, what string) ([]byte, error)
	trust      func(ctx context.Context, q HostKeyQuestion) (bool, error)
	answer     func(ctx context.Context, c Challenge) ([]string, error)
	mu         sync.Mutex
	asked      []string
	questions  []HostKeyQuestion
}

func (a *asker) Passphrase(ctx context.Context, what string) ([]byte, error) {
	a.mu.Lock()
	a.asked = append(a.asked, what)
	a.mu.Unlock()
	if a.passphrase == nil {
		return nil, ErrNoTerminal
	}
	return a.passphrase(ctx, what)
}

func (a *asker) TrustHostKey(ctx context.Context, q HostKeyQuestion) (bool, error) {
	a.mu.Lock()
	a.questions = append(a.questions, q)
	a.mu.Unlock()
	if a.trust == nil {
		return false, ErrNoTerminal
	}
	return a.trust(ctx, q)
}

func (a *asker) Answer(ctx context.Context, c Challenge) ([]string, error) {
	if a.answer == nil {
		return nil, ErrNoTerminal
	}
	return a.answer(ctx, c)
}

func always(passphrase string) func(context.Context, string) ([]byte, error) {
	return func(context.Context, string) ([]byte, error) { return []byte(passphrase), nil }
}

// pin is a target for s whose host key is known, so that tests of other things
// need not care.
func (s *server) pin() Target {
	return Target{Name: "web-1", Address: "192.0.2.1", Agent: "none",
		HostKey: string(ssh.MarshalAuthorizedKey(s.hostKeys[0].PublicKey()))}
}

// login gives s a user with one key and logs in.
func (s *server) login(t testing.TB) *Client {
	t.Helper()
	h := newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
	d := &Dialer{Home: h.dir, NetDial: s.dial}
	c, err := d.Dial(t.Context(), s.pin())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(); <-c.Done() })
	return c
}
