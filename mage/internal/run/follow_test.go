package run

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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/dagadbm/vps/mage/remote"
)

// nobody is an observer that does not listen.
type nobody struct{}

func (nobody) Phase(string)  {}
func (nobody) Output([]byte) {}

// A server that lets nobody in goes back to what did, and restarts its sshd for it: a
// port that refuses for a moment is asked again, also after the last login that may
// be refused.
func TestPortIsAskedAgainAfterThreeRefusedLogins(t *testing.T) {
	t.Parallel()
	dials := 0
	l := &Link{Name: "web", Port: 22, Login: func(context.Context, int) (Conn, error) {
		if dials++; dials == 1 {
			return nil, &remote.UnreachableError{Reason: remote.ReasonRefused, Err: syscall.ECONNREFUSED}
		}
		return noConn{}, nil
	}}
	f := NewFollower(l, "id", ActionSwitch, Deadlines{Confirm: time.Second, Switch: time.Minute}, nobody{})
	f.logins.Store(maxLogins)
	require.NoError(t, f.reconnect(t.Context()))
	assert.Equal(t, 2, dials)
}

type noConn struct{}

func (noConn) Run(context.Context, remote.Cmd) error { return errors.New("no commands here") }
func (noConn) Output(context.Context, string, io.Reader, int64) ([]byte, error) {
	return nil, errors.New("no commands here")
}
func (noConn) Close() error { return nil }

// Evidence from a server that never answers whether it runs the command: nobody takes
// the verdict, and nobody waits for that.
func TestVerdictThatNobodyTakes(t *testing.T) {
	t.Parallel()
	client := loginAt(t, func(conn *ssh.ServerConn, ch ssh.Channel, _ <-chan *ssh.Request) {
		_, _ = io.WriteString(ch, "current=/a\nwanted=/a\nprobed=1\n")
		_ = conn.Close()
	})
	f := NewFollower(&Link{Name: "x"}, "id", ActionSwitch, Deadlines{}, nobody{})
	ended := make(chan error, 1)
	go func() { ended <- f.probe(t.Context(), client, nil) }()
	select {
	case err := <-ended:
		assert.Error(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the look at the new system does not end")
	}
}

// loginAt logs in to a server that serves each session once it was asked for a command.
func loginAt(t *testing.T, serve func(*ssh.ServerConn, ssh.Channel, <-chan *ssh.Request)) *remote.Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	host, user := newKey(t), newKey(t)
	signer, err := ssh.NewSignerFromKey(host)
	require.NoError(t, err)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return &ssh.Permissions{}, nil }}
		config.AddHostKey(signer)
		server, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for offered := range channels {
			if ch, asked, err := offered.Accept(); err == nil {
				<-asked
				serve(server, ch, asked)
			}
		}
	}()
	block, err := ssh.MarshalPrivateKey(user, "")
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	d := &remote.Dialer{Home: dir}
	client, err := d.Dial(t.Context(), remote.Target{Name: "x", Address: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port,
		User: "root", Agent: "none", Identities: []string{file}, IdentitiesOnly: true,
		HostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}
