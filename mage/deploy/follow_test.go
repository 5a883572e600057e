package deploy

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// What a person is told of a run that went out of sight is what will become of it.
func TestProspectsOfARunOutOfSight(t *testing.T) {
	t.Parallel()
	heard := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		phase   string
		action  run.Action
		confirm time.Duration
		want    string
	}{
		{"", run.ActionSwitch, time.Minute, "unless somebody confirms it"},
		{run.PhaseBuilding, run.ActionTest, time.Minute, "unless somebody confirms it"},
		{run.PhaseBuilding, run.ActionSwitch, 0, "without a watchdog"},
		{run.PhaseBuilding, run.ActionBoot, time.Minute, "ends by itself"},
		{run.PhaseSwitching, run.ActionSwitch, time.Minute, "rolled back by 03:15:05"},
		{run.PhaseConfirming, run.ActionSwitch, time.Minute, "rolled back by 03:15:05"},
		{run.PhaseSwitching, run.ActionSwitch, 0, "without a watchdog"},
		{run.PhaseCommitting, run.ActionSwitch, time.Minute, "which then stays"},
		{run.PhaseRollingBack, run.ActionSwitch, time.Minute, "going back"},
		{run.PhaseRebooting, run.ActionSwitch, time.Minute, "going back"},
	} {
		f := &follower{action: c.action, confirm: c.confirm, limit: 10 * time.Minute, heard: heard}
		f.last.Phase = c.phase
		assert.Contains(t, f.prospects(), c.want, "%s, %s, confirm %v", c.phase, c.action, c.confirm)
	}
}

// A server that lets nobody in goes back to what did, and restarts its sshd for it: a
// port that refuses for a moment is asked again, also after the last login that may
// be refused.
func TestPortIsAskedAgainAfterThreeRefusedLogins(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	l, err := f.connect(t.Context(), f.hosts["web"])
	require.NoError(t, err)
	defer func() { l.close() }()
	var dials atomic.Int32
	f.Dialer.NetDial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	progress := f.log.Progress("web")
	defer progress.Close()
	g := &follower{link: l, line: progress.Host("web"), confirm: time.Second, limit: time.Minute}
	g.logins.Store(maxLogins)
	require.NoError(t, g.reconnect(t.Context()))
	assert.EqualValues(t, 2, dials.Load())
}

// Evidence from a server that never answers whether it runs the command: nobody takes
// the verdict, and nobody waits for that.
func TestVerdictThatNobodyTakes(t *testing.T) {
	t.Parallel()
	client := loginAt(t, func(conn *ssh.ServerConn, ch ssh.Channel, _ <-chan *ssh.Request) {
		_, _ = io.WriteString(ch, "current=/a\nwanted=/a\nprobed=1\n")
		_ = conn.Close()
	})
	f := &follower{link: &link{host: config.Host{Target: remote.Target{Name: "x"}}}, id: "id"}
	ended := make(chan error, 1)
	go func() { ended <- f.probe(t.Context(), client) }()
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
