package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// skipOrFail skips a test of real parts; where those are promised it fails.
func skipOrFail(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("VPS_E2E") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// realServer is an OpenSSH server on loopback with keys and folder of its own.
type realServer struct {
	home   home
	target Target
	key    ssh.PublicKey
}

func startOpenSSH(t *testing.T, config ...string) *realServer {
	t.Helper()
	const sshd = "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil {
		skipOrFail(t, "needs OpenSSH's server: "+err.Error())
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			skipOrFail(t, "sshd needs /run/sshd: "+err.Error())
		}
	}
	me, err := user.Current()
	require.NoError(t, err)
	r := &realServer{home: newHome(t)}
	public := r.home.addKey("id_ed25519", "")
	r.key = r.home.addKey("host", "")
	r.home.write("authorized_keys", string(ssh.MarshalAuthorizedKey(public)))
	port := freePort(t)
	r.target = Target{Name: "real", Address: "127.0.0.1", Port: port, User: me.Username, Agent: "none", GlobalKnownHosts: []string{"none"}}
	file := r.home.write("sshd_config", strings.Join(append([]string{
		"ListenAddress 127.0.0.1", fmt.Sprintf("Port %d", port), "HostKey " + r.home.path("host"),
		"AuthorizedKeysFile " + r.home.path("authorized_keys"), "StrictModes no", "UsePAM no", "PidFile none",
		"PermitRootLogin prohibit-password", "MaxStartups 100", "Subsystem sftp internal-sftp", ""}, config...), "\n"))

	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), sshd, "-D", "-e", "-f", file)
	cmd.Stderr = &log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	d := &Dialer{}
	require.Eventually(t, func() bool { return d.Probe(t.Context(), r.target) == nil }, 20*time.Second, 10*time.Millisecond, "sshd does not listen")
	return r
}

func (r *realServer) login(t *testing.T) *Client {
	t.Helper()
	target := r.target
	target.HostKey = keyLine("", r.key)
	c, err := (&Dialer{Home: r.home.dir}).Dial(t.Context(), target)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(); <-c.Done() })
	return c
}

func TestOpenSSHCommands(t *testing.T) {
	t.Parallel()
	c := startOpenSSH(t).login(t)
	out, err := c.Output(t.Context(), "cat; echo end", strings.NewReader("in "), 100)
	require.NoError(t, err)
	assert.Equal(t, "in end\n", string(out))

	var failed *ExitError
	require.ErrorAs(t, c.Run(t.Context(), Cmd{Line: "echo why >&2; exit 7"}), &failed)
	assert.Equal(t, 7, failed.Code)
	assert.Equal(t, "why\n", failed.Stderr)
	require.ErrorAs(t, c.Run(t.Context(), Cmd{Line: "kill -9 $$"}), &failed)
	assert.Equal(t, "KILL", failed.Signal)

	flood := &limited{left: 8 << 20}
	require.NoError(t, c.Run(t.Context(), Cmd{Line: "head -c 8388608 /dev/zero; head -c 1000000 /dev/zero >&2", Stdout: flood}))
	assert.Zero(t, flood.left)
	_, err = c.Output(t.Context(), "yes", nil, 1000)
	require.ErrorIs(t, err, ErrTooMuchOutput)
	require.NoError(t, c.Run(t.Context(), Cmd{Line: "exec <&-; true", Stdin: bytes.NewReader(make([]byte, 8<<20))}))

	for range 3 {
		c.Prepare(t.Context())
	}
	for range 5 {
		require.NoError(t, c.Run(t.Context(), Cmd{Line: "true"}))
	}
}

// Ending a command here closes its input there, on which a command that watches it
// ends; users other than root, to whom sshd grants signals, get SIGTERM as well.
func TestOpenSSHCancel(t *testing.T) {
	t.Parallel()
	r := startOpenSSH(t)
	c := r.login(t)
	started, ended := filepath.Join(r.home.dir, "started"), filepath.Join(r.home.dir, "ended")
	never, stop := io.Pipe()
	defer stop.Close()
	ctx, cancel := context.WithCancel(t.Context())
	p, err := c.Start(ctx, Cmd{Stdin: never,
		Line: fmt.Sprintf("trap 'touch %[1]s' TERM; touch %[2]s; cat; touch %[1]s", Quote(ended), Quote(started))})
	require.NoError(t, err)
	exists := func(path string) func() bool { return func() bool { _, err := os.Stat(path); return err == nil } }
	require.Eventually(t, exists(started), 20*time.Second, 10*time.Millisecond)
	cancel()
	require.ErrorIs(t, p.Wait(), context.Canceled)
	require.Eventually(t, exists(ended), 20*time.Second, 10*time.Millisecond)
}

func TestOpenSSHUpload(t *testing.T) {
	t.Parallel()
	r := startOpenSSH(t)
	c := r.login(t)
	c.PrepareSFTP(t.Context())
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	for _, mode := range []os.FileMode{0o600, 0o700} {
		path := filepath.Join(r.home.dir, mode.String())
		require.NoError(t, c.Upload(t.Context(), path, mode, data))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(data, got))
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm())
		require.Error(t, c.Upload(t.Context(), path, mode, nil), "exists")
	}
	require.ErrorContains(t, c.Upload(t.Context(), filepath.Join(r.home.dir, "no", "folder"), 0o600, nil), "uploading")
}

// known_hosts as the real programs write it, and their names for a host.
func TestOpenSSHKnownHosts(t *testing.T) {
	t.Parallel()
	r := startOpenSSH(t)
	d := &Dialer{Home: r.home.dir}
	require.ErrorAs(t, try(t, d, r.target), new(*UnknownHostKeyError))
	d.AcceptHostKeys = []string{ssh.FingerprintSHA256(r.key)}
	require.NoError(t, try(t, d, r.target))

	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		skipOrFail(t, "needs ssh-keygen: "+err.Error())
	}
	name := fmt.Sprintf("[127.0.0.1]:%d", r.target.Port)
	file := r.home.path("known_hosts")
	out, err := exec.CommandContext(t.Context(), keygen, "-f", file, "-F", name).CombinedOutput()
	require.NoError(t, err, "ssh-keygen finds what we recorded: %s", out)
	out, err = exec.CommandContext(t.Context(), keygen, "-f", file, "-H").CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, try(t, &Dialer{Home: r.home.dir}, r.target), "hashed by ssh-keygen")

	r.home.write("known_hosts", keyLine(name, newSigner(t).PublicKey())+"\n")
	var bad *HostKeyMismatchError
	require.ErrorAs(t, try(t, d, r.target), &bad)
	removal := bad.NextStep().String()[strings.Index(bad.NextStep().String(), "ssh-keygen"):]
	out, err = exec.CommandContext(t.Context(), "sh", "-c", removal).CombinedOutput()
	require.NoError(t, err, "the command in the hint works: %s", out)
	require.NoError(t, try(t, &Dialer{Home: r.home.dir, AcceptHostKeys: d.AcceptHostKeys}, r.target))
}

func TestOpenSSHTooManyKeys(t *testing.T) {
	t.Parallel()
	r := startOpenSSH(t, "MaxAuthTries 2")
	target := r.target
	target.HostKey = keyLine("", r.key)
	for _, name := range []string{"a", "b", "c"} {
		r.home.addKey(name, "")
		target.Identities = append(target.Identities, r.home.path(name))
	}
	target.Identities = append(target.Identities, r.home.path("id_ed25519"))
	var auth *AuthError
	require.ErrorAs(t, try(t, &Dialer{Home: r.home.dir}, target), &auth)
	assert.True(t, auth.TooMany)
}

func TestOpenSSHJumpAndForward(t *testing.T) {
	t.Parallel()
	r := startOpenSSH(t)
	target := r.target
	target.HostKey = keyLine("", r.key)
	through := target
	through.Jumps = []Target{target}
	d := &Dialer{Home: r.home.dir}
	require.NoError(t, try(t, d, through))

	f, err := d.Forward(t.Context(), through)
	require.NoError(t, err)
	defer f.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	hello := make([]byte, 8)
	_, err = conn.Read(hello)
	require.NoError(t, err)
	assert.Equal(t, "SSH-2.0-", string(hello))

	through.Port = freePort(t)
	var un *UnreachableError
	require.ErrorAs(t, try(t, d, through), &un)
	assert.Equal(t, ReasonRefused, un.Reason)
	assert.Equal(t, "real", un.Via)
}

func TestOpenSSHLostConnection(t *testing.T) {
	t.Parallel()
	c := startOpenSSH(t).login(t)
	err := c.Run(t.Context(), Cmd{Line: "kill -9 $PPID; sleep 60"})
	require.ErrorIs(t, err, ErrLost)
	<-c.Done()
	require.ErrorIs(t, c.Err(), ErrLost)
}

// The first contact learns the server's keys of all types, over the connection that
// the accepted one verified; a server that loses that one is then still known.
func TestOpenSSHFirstContactLearnsAllHostKeys(t *testing.T) {
	t.Parallel()
	ec, rs := hostKey(t, "ecdsa"), hostKey(t, "rsa")
	r := startOpenSSH(t, "HostKey "+ec, "HostKey "+rs)
	d := &Dialer{Home: r.home.dir, AcceptHostKeys: []string{ssh.FingerprintSHA256(r.key)},
		Notice: func(_, text string) { t.Error(text) }}
	c, err := d.Dial(t.Context(), r.target)
	require.NoError(t, err)
	keys, err := c.HostKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, keys, 3)
	assert.Equal(t, c.HostKeyLine(), keys[0])
	require.NoError(t, c.Close())
	<-c.Done()

	hosts, err := d.knownHosts(r.target)
	require.NoError(t, err)
	known, _ := hosts.keysOf(r.target.lookup())
	assert.Len(t, known, 3)
	only := r.target
	only.Options.HostKeyAlgorithms = []string{"ecdsa-sha2-nistp256"}
	require.NoError(t, try(t, &Dialer{Home: r.home.dir}, only))
	only.Options.HostKeyAlgorithms = []string{"rsa-sha2-512"}
	require.NoError(t, try(t, &Dialer{Home: r.home.dir}, only))
}

func hostKey(t *testing.T, kind string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), kind)
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file).CombinedOutput()
	if err != nil {
		skipOrFail(t, "needs ssh-keygen: "+string(out))
	}
	return file
}

// A shell on a terminal: its size and how that changes, keys, Ctrl-C, signals, and
// the exit code.
func TestOpenSSHTerminal(t *testing.T) {
	t.Parallel()
	c := startOpenSSH(t).login(t)
	resized := make(chan Size)
	keys, keyboard := io.Pipe()
	defer keyboard.Close()
	screen := &screen{}
	p, err := c.Start(t.Context(), Cmd{Stdin: keys, Stdout: screen,
		Terminal: &Terminal{Type: "vt100", Size: Size{Columns: 101, Rows: 37}, Resized: resized}})
	require.NoError(t, err)
	see := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(screen.String(), text) }, 20*time.Second, 5*time.Millisecond, "%q", screen)
	}
	typed := func(line string) { _, err := io.WriteString(keyboard, line); require.NoError(t, err) }
	typed("exec /bin/sh\nPS1='> '; stty -echo; echo at=$(stty size) $TERM\n")
	see("at=37 101 vt100")
	typed("until [ \"$(stty size)\" = '12 55' ]; do sleep 0.05; done; echo resized=$?\n")
	resized <- Size{Columns: 55, Rows: 12}
	see("resized=0")
	typed("echo sleep=ing; sleep 1000\n")
	see("sleep=ing")
	typed("\x03")
	typed("echo after=ctrl-c; exit 7\n")
	var failed *ExitError
	require.ErrorAs(t, p.Wait(), &failed)
	assert.Equal(t, 7, failed.Code)
	assert.Contains(t, screen.String(), "after=ctrl-c")

	p, err = c.Start(t.Context(), Cmd{Line: "tty >/dev/null && kill -HUP $$", Terminal: &Terminal{}})
	require.NoError(t, err)
	require.ErrorAs(t, p.Wait(), &failed)
	assert.Equal(t, "HUP", failed.Signal)
}

// screen is what a terminal shows, without a terminal.
type screen struct {
	mu   sync.Mutex
	text []byte
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, b...)
	return len(b), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

func TestOpenSSHForwardFromAChosenPort(t *testing.T) {
	t.Parallel()
	c := startOpenSSH(t).login(t)
	echo, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); _, _ = io.Copy(conn, conn) }()
		}
	}()
	port := freePort(t)
	f, err := c.ForwardFrom(t.Context(), port, echo.Addr().String())
	require.NoError(t, err)
	defer f.Close()
	assert.Equal(t, port, f.Addr().Port)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	back := make([]byte, 5)
	_, err = io.ReadFull(conn, back)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(back))
	_, err = c.ForwardFrom(t.Context(), port, echo.Addr().String())
	require.ErrorContains(t, err, "in use")
}
