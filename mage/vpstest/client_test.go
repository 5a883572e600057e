package vpstest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is longer than anything here takes on a busy machine.
const patience = 30 * time.Second

// tick is how often a test looks where nobody tells.
const tick = 10 * time.Millisecond

func dialPort(s *vpstest.Server, port int) (*ssh.Client, error) {
	return ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &ssh.ClientConfig{
		User:            "root",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(s.ClientKey())},
		HostKeyCallback: ssh.FixedHostKey(s.HostKey()),
		Timeout:         patience,
	})
}

func dial(t *testing.T, s *vpstest.Server) *ssh.Client {
	t.Helper()
	client, err := dialPort(s, s.Port())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// runCommand runs a command to its end.
func runCommand(t *testing.T, client *ssh.Client, c run.Command) string {
	t.Helper()
	session, err := client.NewSession()
	require.NoError(t, err)
	defer session.Close()
	var stderr bytes.Buffer
	session.Stdin, session.Stderr = strings.NewReader(c.Stdin), &stderr
	out, err := session.Output(c.Line)
	require.NoError(t, err, "stderr: %s", stderr.String())
	before, _, _ := strings.Cut(stderr.String(), run.LogMark+"\n")
	require.Empty(t, strings.TrimSpace(before))
	return string(out)
}

// upload puts an archive into the login folder, as a client does.
func upload(t *testing.T, client *ssh.Client, name string, content []byte) {
	t.Helper()
	files, err := sftp.NewClient(client)
	require.NoError(t, err)
	defer files.Close()
	file, err := files.Create(name)
	require.NoError(t, err)
	require.NoError(t, file.Chmod(0o600))
	_, err = file.Write(content)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// start sends an archive and starts its run.
func start(t *testing.T, client *ssh.Client, a vpstest.Archive) string {
	t.Helper()
	content, err := a.Bytes()
	require.NoError(t, err)
	id := a.Request["id"]
	session, err := client.NewSession()
	require.NoError(t, err)
	defer session.Close()
	stdin, err := session.StdinPipe()
	require.NoError(t, err)
	stdout, err := session.StdoutPipe()
	require.NoError(t, err)
	c := run.Shell{}.Session(run.FactsQuery{})
	require.NoError(t, session.Start(c.Line))
	_, err = io.WriteString(stdin, c.Stdin)
	require.NoError(t, err)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != run.FactsEnd {
	}
	_, err = stdin.Write(run.StartOrder(id, content))
	require.NoError(t, err)
	require.True(t, lines.Scan(), "no answer")
	started, refused := run.ParseStart(lines.Text())
	require.True(t, started, lines.Text())
	require.NoError(t, refused)
	return id
}

// follower reads a run's status lines.
type follower struct {
	t       *testing.T
	session *ssh.Session
	stdin   io.Closer
	lines   *bufio.Scanner
	seen    []run.Status
}

func follow(t *testing.T, client *ssh.Client, id string) *follower {
	t.Helper()
	session, err := client.NewSession()
	require.NoError(t, err)
	stdin, err := session.StdinPipe()
	require.NoError(t, err)
	stdout, err := session.StdoutPipe()
	require.NoError(t, err)
	c := run.Shell{}.Follow(id, 0)
	require.NoError(t, session.Start(c.Line))
	_, err = io.WriteString(stdin, c.Stdin)
	require.NoError(t, err)
	return &follower{t: t, session: session, stdin: stdin, lines: bufio.NewScanner(stdout)}
}

// until reads up to a phase, which must come; also "gone", which is not a phase.
func (f *follower) until(phase string) run.Status {
	f.t.Helper()
	for f.lines.Scan() {
		if f.lines.Text() == "gone" {
			if phase == "gone" {
				return run.Status{Phase: "gone"}
			}
			continue
		}
		status, err := run.ParseStatus(f.lines.Text())
		require.NoError(f.t, err, f.lines.Text())
		f.seen = append(f.seen, status)
		if status.Phase == phase {
			return status
		}
		require.NotEqual(f.t, "end", status.Phase, "the run ended before %q: %v", phase, f.seen)
	}
	require.Failf(f.t, "the status ended", "before %q, after %v", phase, f.seen)
	return run.Status{}
}

// ends says whether the run ends like that; "confirming" is not an end, but shows
// that it is too late for some.
func (f *follower) ends(result string) bool {
	f.t.Helper()
	for f.lines.Scan() {
		status, err := run.ParseStatus(f.lines.Text())
		if err == nil && (status.Phase == "end" || status.Phase == "confirming") {
			return status.Fields["result"] == result
		}
	}
	return false
}

func (f *follower) close() {
	_ = f.stdin.Close()
	_ = f.session.Wait()
	_ = f.session.Close()
}

// probe asks a new login for what it sees and gives it the verdict.
func probe(t *testing.T, client *ssh.Client, id, verdict string) []string {
	t.Helper()
	return probeFor(t, client, id, 0, verdict)
}

// probeFor is probe that watches the units for a while first.
func probeFor(t *testing.T, client *ssh.Client, id string, settle time.Duration, verdict string) []string {
	t.Helper()
	session, err := client.NewSession()
	require.NoError(t, err)
	defer session.Close()
	stdin, err := session.StdinPipe()
	require.NoError(t, err)
	stdout, err := session.StdoutPipe()
	require.NoError(t, err)
	c := run.Shell{}.Probe(id, settle)
	require.NoError(t, session.Start(c.Line))
	_, err = io.WriteString(stdin, c.Stdin)
	require.NoError(t, err)
	var seen []string
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "probed=1" {
		seen = append(seen, lines.Text())
	}
	_, err = io.WriteString(stdin, verdict+"\n")
	require.NoError(t, err)
	// A server that dies of what the verdict begins need not answer any more.
	if lines.Scan() {
		seen = append(seen, lines.Text())
	}
	_ = session.Wait()
	return seen
}

// tree is a tree whose system behaves like system.
func tree(system vpstest.System, more ...string) map[string]string {
	files := map[string]string{"flake.nix": "{ }\n", vpstest.ConfFile: system.Conf(),
		"secrets/secrets.yaml": "token: ENC[x]\nsops:\n    mac: y\n"}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

// old is the tree that servers here begin with.
func old() map[string]string { return tree(vpstest.System{}, "old.nix", "old\n") }
