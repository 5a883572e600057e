package vpstest_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
)

func command(line string) run.Command { return run.Command{Line: line} }

// output runs a command that may fail.
func output(t *testing.T, client *ssh.Client, line string) (stdout, stderr string, err error) {
	t.Helper()
	session, err := client.NewSession()
	require.NoError(t, err)
	defer session.Close()
	var out, bad bytes.Buffer
	session.Stdout, session.Stderr = &out, &bad
	err = session.Run(line)
	return out.String(), bad.String(), err
}

func TestFactsOfAServer(t *testing.T) {
	t.Parallel()
	variants(t, func(t *testing.T, options ...vpstest.Option) {
		s := vpstest.Start(t, append(options, vpstest.WithAgeKey("AGE-SECRET-KEY-1\n"), vpstest.WithLingering("openclaw"),
			vpstest.WithFree("/boot", 777), vpstest.WithArch("aarch64"), vpstest.WithHostname("web"))...)
		s.SetUnit("openclaw", "gateway.service", "auto-restart")
		out := runCommand(t, dial(t, s), run.Shell{}.Facts(run.FactsQuery{
			AgeKey: "/var/lib/sops-nix/key.txt", Manifest: true, Units: true}))
		facts, err := run.ParseFacts(strings.NewReader(out))
		require.NoError(t, err)
		assert.True(t, facts.NixOS)
		assert.Equal(t, []any{"aarch64", "web", 0, 1, int64(777 << 10), run.TreeDir},
			[]any{facts.Arch, facts.Hostname, facts.UID, facts.Generation, facts.FreeBoot, facts.TreeKind})
		assert.Equal(t, []string{s.CurrentSystem(), s.BootedSystem(), s.ProfileSystem()},
			[]string{facts.Current, facts.Booted, facts.Profile})
		assert.Equal(t, s.Manifest(), facts.Manifest)
		assert.Len(t, facts.AgeKeys, 1)
		assert.Equal(t, run.UpgradeUnknown, facts.Upgrade.Outcome(), "there is no such unit")
		if facts.Systemd {
			assert.Equal(t, []run.Unit{{Scope: "user:openclaw", Name: "gateway.service", State: "auto-restart"}}, facts.Units)
			assert.Equal(t, []string{"inactive", "running"}, []string{facts.Upgrade.State, facts.State})
		}
	})
}

// The last upgrade of the server's own, as systemd remembers it.
func TestFactsOfTheLastUpgrade(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	upgrade := func() run.Upgrade {
		facts, err := run.ParseFacts(strings.NewReader(runCommand(t, client, run.Shell{}.Facts(run.FactsQuery{}))))
		require.NoError(t, err)
		return facts.Upgrade
	}
	const name = "nixos-upgrade.service"
	s.SetEnded(name, "success", time.Time{})
	assert.Equal(t, run.UpgradeUnknown, upgrade().Outcome(), "none since the start")
	when := time.Date(2026, 11, 28, 3, 41, 7, 0, time.UTC)
	s.SetEnded(name, "success", when)
	assert.Equal(t, []any{run.UpgradeSucceeded, when}, []any{upgrade().Outcome(), upgrade().Ended.UTC()})
	s.SetUnit("", name, "activating")
	assert.Equal(t, run.UpgradeRunning, upgrade().Outcome())
	s.SetUnit("", name, "failed")
	s.SetEnded(name, "exit-code", when)
	assert.Equal(t, []any{run.UpgradeFailed, "exit-code"}, []any{upgrade().Outcome(), upgrade().Result})
}

func TestOtherLinux(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithoutNixOS())
	facts, err := run.ParseFacts(strings.NewReader(runCommand(t, dial(t, s), run.Shell{}.Facts(run.FactsQuery{}))))
	require.NoError(t, err)
	assert.False(t, facts.NixOS)
	assert.Equal(t, "Debian GNU/Linux 13 (trixie)", facts.OS)
	assert.Empty(t, s.CurrentSystem())
}

func TestSudo(t *testing.T) {
	t.Parallel()
	admin := func(t *testing.T, options ...vpstest.Option) *ssh.Client {
		s := vpstest.Start(t, append(options, vpstest.WithUser("admin"))...)
		client, err := ssh.Dial("tcp", s.Addr(), &ssh.ClientConfig{User: "admin",
			Auth: []ssh.AuthMethod{ssh.PublicKeys(s.ClientKey())}, HostKeyCallback: ssh.FixedHostKey(s.HostKey())})
		require.NoError(t, err)
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	client := admin(t)
	assert.Equal(t, "1000\n0\nadmin\nroot\n", runCommand(t, client, command("id -u; sudo -n id -u; whoami; sudo -n whoami")))
	facts, err := run.ParseFacts(strings.NewReader(runCommand(t, client, run.ShellOf("admin").Facts(run.FactsQuery{}))))
	require.NoError(t, err)
	assert.True(t, facts.NixOS)

	_, stderr, err := output(t, admin(t, vpstest.WithSudoPassword()), "sudo -n true")
	assert.Error(t, err)
	assert.Equal(t, "sudo: a password is required\n", stderr)

	_, stderr, err = output(t, admin(t, vpstest.WithoutSudo()), "sudo -n true")
	assert.Error(t, err)
	assert.Contains(t, stderr, "not found")
}

func TestEndOfACommand(t *testing.T) {
	t.Parallel()
	client := dial(t, vpstest.Start(t))
	var exit *ssh.ExitError
	_, _, err := output(t, client, "exit 7")
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 7, exit.ExitStatus())
	_, _, err = output(t, client, "kill -KILL $$")
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, "KILL", exit.Signal())
	stdout, stderr, err := output(t, client, "echo out; echo err >&2")
	require.NoError(t, err)
	assert.Equal(t, []string{"out\n", "err\n"}, []string{stdout, stderr})
}

func TestALoginHasNothingOfThisMachine(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithPrograms(map[string]string{"tar": "", "hello": "#!/bin/sh\necho hi\n"}))
	client := dial(t, s)
	assert.Equal(t, s.Path("root")+"\n", runCommand(t, client, command("pwd")))
	names := runCommand(t, client, command(`env | while IFS="=" read -r name _; do echo "$name"; done | sort`))
	assert.Equal(t, "HOME PATH PWD USER VPS_ROOT _", strings.Join(strings.Fields(names+"_"), " "))
	assert.Equal(t, "hi\n", runCommand(t, client, command("hello")))
	_, _, err := output(t, client, "tar --version")
	assert.Error(t, err)
	_, _, err = output(t, client, "go version")
	assert.Error(t, err)
}

// Nothing may stay behind when a client vanishes in the middle: sshd closes what
// the program reads and writes, and does not kill it.
func TestLostClient(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client, err := dialPort(s, s.Port())
	require.NoError(t, err)
	session, err := client.NewSession()
	require.NoError(t, err)
	_, err = session.StdinPipe()
	require.NoError(t, err)
	stdout, err := session.StdoutPipe()
	require.NoError(t, err)
	fifo := s.Path("root/done")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	require.NoError(t, session.Start("echo here; cat >/dev/null; echo survived >done"))
	_, err = io.ReadFull(stdout, make([]byte, 5))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	text, err := os.ReadFile(fifo)
	require.NoError(t, err)
	assert.Equal(t, "survived\n", string(text))
}

func TestCloseEndsEveryProcess(t *testing.T) {
	t.Parallel()
	variants(t, func(t *testing.T, options ...vpstest.Option) {
		s, err := vpstest.New(options...)
		require.NoError(t, err)
		client, err := dialPort(s, s.Port())
		require.NoError(t, err)
		defer client.Close()
		pids := runCommand(t, client, command("sleep 1000 >/dev/null 2>&1 & echo $!; setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"))
		base := filepath.Dir(s.Root())
		require.NoError(t, s.Close())
		require.NoError(t, s.Close(), "closing twice is fine")
		assert.NoDirExists(t, base)
		for _, pid := range strings.Fields(pids) {
			assertDead(t, pid)
		}
	})
}

func TestFilesByTransfer(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithLinks(func(n int) vpstest.Link {
		return vpstest.Link{UploadLimit: int64(n-1) * 1000}
	}))
	files, err := sftp.NewClient(dial(t, s))
	require.NoError(t, err)
	defer files.Close()
	upload(t, dial(t, s), "short", []byte("text"))
	info, err := os.Stat(s.Path("root/short"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, files.Mkdir("/etc/new"))
	require.NoError(t, files.Rename("short", "/etc/new/moved"))
	assert.Equal(t, "text", s.ReadFile("etc/new/moved"))
	list, err := files.ReadDir("/etc/new")
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "moved", list[0].Name())
	require.NoError(t, files.Remove("/etc/new/moved"))
	assert.NoFileExists(t, s.Path("etc/new/moved"))
	_, err = files.Open("../../../../etc/shadow-of-this-machine")
	assert.ErrorIs(t, err, os.ErrNotExist)

	small, err := sftp.NewClient(dial(t, s))
	require.NoError(t, err)
	defer small.Close()
	file, err := small.Create("long")
	require.NoError(t, err)
	_, err = file.Write(make([]byte, 4000))
	var status *sftp.StatusError
	require.ErrorAs(t, err, &status)
	assert.EqualValues(t, sftp.ErrSSHFxFailure, status.Code)
}

// pkg/sftp's server may still write an answer when it has already returned, and
// an ssh channel may not be written to and closed at once: -race must find nothing.
func TestClientLeavesInMidTransfer(t *testing.T) {
	t.Parallel()
	client := dial(t, vpstest.Start(t))
	for range 50 {
		channel, requests, err := client.OpenChannel("session", nil)
		require.NoError(t, err)
		go ssh.DiscardRequests(requests)
		ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
		require.NoError(t, err)
		require.True(t, ok)
		const start = 1 // SSH_FXP_INIT, which is answered with the server's version
		_, err = channel.Write([]byte{0, 0, 0, 5, start, 0, 0, 0, 3})
		require.NoError(t, err)
		require.NoError(t, channel.CloseWrite())
		_, err = io.ReadAll(channel)
		require.NoError(t, err)
	}
}

func TestJumpHost(t *testing.T) {
	t.Parallel()
	jump, s := vpstest.Start(t), vpstest.Start(t, vpstest.WithHostname("behind"))
	through, err := dial(t, jump).Dial("tcp", s.Addr())
	require.NoError(t, err)
	conn, channels, requests, err := ssh.NewClientConn(through, s.Addr(), &ssh.ClientConfig{User: "root",
		Auth: []ssh.AuthMethod{ssh.PublicKeys(s.ClientKey())}, HostKeyCallback: ssh.FixedHostKey(s.HostKey())})
	require.NoError(t, err)
	client := ssh.NewClient(conn, channels, requests)
	defer client.Close()
	assert.Equal(t, "behind\n", runCommand(t, client, command("hostname")))
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	info, err := os.Stat(s.ClientKeyFile())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(s.ClientKeyFile())
	require.NoError(t, err)
	key, err := ssh.ParsePrivateKey(text)
	require.NoError(t, err)
	assert.Equal(t, s.ClientKey().PublicKey().Marshal(), key.PublicKey().Marshal())
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKeyLine()))
	require.NoError(t, err)
	assert.Equal(t, s.HostKey().Marshal(), parsed.Marshal())
	_, hosts, _, _, _, err := ssh.ParseKnownHosts([]byte(s.KnownHostsLine()))
	require.NoError(t, err)
	assert.Equal(t, []string{"[127.0.0.1]:" + strings.TrimPrefix(s.Addr(), "127.0.0.1:")}, hosts)

	stranger, err := vpstest.NewKey()
	require.NoError(t, err)
	_, err = ssh.Dial("tcp", s.Addr(), &ssh.ClientConfig{User: "root", Timeout: time.Second,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(stranger)}, HostKeyCallback: ssh.FixedHostKey(s.HostKey())})
	assert.ErrorContains(t, err, "unable to authenticate")
}
