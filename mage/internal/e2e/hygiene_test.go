package e2e_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// placesOfTheServer are where a secret could be left. The age key has its one
// place, /var/lib/sops-nix, which is not among them.
const placesOfTheServer = "/nix /etc /var/lib/vps /var/log /var/tmp /run /tmp /root /home"

// The same as the fast test of package deploy, with real parts: the targets'
// program as a process of its own, a server with systemd and Nix. What is played
// is the decryption on the server, so this says nothing of /run/secrets.
func TestFaultsSecretsStaySecretOnARealServer(t *testing.T) {
	t.Parallel()
	e2e.Require(t, "docker", "sops")
	c := newCanaries(t)
	s := c.server
	watch := faults.Start(c.needles, c.tmp)

	c.must("secrets:set", "gateway-token", "-from="+c.file("value"))
	c.project.Set("note", "first")
	c.must("update", "web", "-settle=0s")
	c.edit()
	c.project.Set("note", "second")
	c.must("update", "web", "-settle=0s")
	c.project.Set("sshEnable", false)
	assert.Equal(t, 3, c.run("update", "web", "-settle=0s", "-confirm=5s"), "rolled back: %s", c.printed)
	c.project.Set("sshEnable", true)
	for _, args := range [][]string{{"status", "web", "-json"}, {"diff", "web"}, {"check", "-host=web", "-offline"}, {"generations", "web"}} {
		c.run(args...)
	}
	c.must("rollback", "web")
	c.must("secrets:list")
	c.must("secrets:rotate", "-yes="+fingerprintOf(t, s.Host("web").HostKey))
	c.crash()
	found := watch.Stop()

	c.keys()
	for _, what := range c.needles.In([]byte(c.printed.String())) {
		found = append(found, what+" in what was printed")
	}
	found = append(found, c.needles.InFiles(c.project.Dir, func(path string) bool {
		return strings.HasPrefix(path, filepath.Join("secrets", "age-key"))
	})...)
	found = append(found, c.needles.InFiles(c.tmp, nil)...)
	for name, text := range map[string]string{
		"the container": s.Inspect(),
		"the journal":   s.Exec("journalctl --all --no-pager -o export"),
		"the server":    s.Exec(c.search()),
	} {
		for _, what := range c.needles.In([]byte(text)) {
			found = append(found, what+" in "+name)
		}
	}
	assert.Empty(t, found)
	assert.Greater(t, watch.Looks, 10)
	faults.Report(t, faults.Row{Area: "secrets", Case: "canaries in a run of everything, real server", Injected: len(c.needles),
		Survived: len(c.needles) - len(found), Detail: fmt.Sprintf("all processes looked at %d times", watch.Looks)})
}

// canaries is a project that is worked on by the targets' program, with secrets
// that nothing else contains.
type canaries struct {
	t       *testing.T
	program string
	server  *e2e.Server
	project *e2e.Project
	needles faults.Needles
	values  map[string]string
	outside string // where this test keeps what it knows
	tmp     string // TMPDIR of the program
	printed *story
}

func newCanaries(t *testing.T) *canaries {
	c := &canaries{t: t, server: e2e.Start(t), needles: faults.Needles{}, outside: t.TempDir(), tmp: t.TempDir(), printed: &story{}}
	c.program = filepath.Join(c.outside, "targets")
	cmd := exec.Command("go", "tool", "mage", "-compile", c.program)
	cmd.Dir = filepath.Dir(filepath.Dir(e2e.Recipe()))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	c.project = c.server.Project()
	c.values = map[string]string{"value": "canary-" + rand.Text(), "edited": "canary-" + rand.Text()}
	for name, value := range c.values {
		c.needles.Add(name, value)
		require.NoError(t, os.WriteFile(c.file(name), []byte(value), 0o600))
	}
	c.keys()
	return c
}

func (c *canaries) file(name string) string { return filepath.Join(c.outside, name) }

// keys makes the age keys that are there now needles.
func (c *canaries) keys() {
	files, err := filepath.Glob(filepath.Join(c.project.Dir, "secrets", "age-key*"))
	require.NoError(c.t, err)
	require.NotEmpty(c.t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(c.t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "AGE-SECRET-KEY-") {
				c.needles.Add("age key "+line[len(line)-5:], line)
			}
		}
	}
}

// run runs a target to its end and gives its exit status.
func (c *canaries) run(args ...string) int {
	cmd := c.command(c.program, args...)
	_ = cmd.Run() // the status says it
	return cmd.ProcessState.ExitCode()
}

func (c *canaries) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.t.Context(), program, args...)
	cmd.Dir = c.project.Dir
	cmd.Env = append(os.Environ(), "VPS_SSH_CONFIG=none", "SSH_AUTH_SOCK=", "TMPDIR="+c.tmp, "EDITOR="+c.file("editor"))
	cmd.Stdout, cmd.Stderr = c.printed, c.printed
	return cmd
}

func (c *canaries) must(args ...string) {
	c.t.Helper()
	require.Zero(c.t, c.run(args...), "%s: %s", args, c.printed)
}

// editor is a script in an editor's place; nothing of the secrets is in it.
func (c *canaries) editor(script string) {
	c.t.Helper()
	require.NoError(c.t, program.Write(c.file("editor"), "#!/bin/sh\n"+script))
}

func (c *canaries) edit() {
	c.t.Helper()
	c.editor(fmt.Sprintf("{ grep -v '^gateway-token' \"$1\"; printf 'gateway-token: '; cat %q; echo; } >%q; cat %q >\"$1\"\n",
		c.file("edited"), c.file("text"), c.file("text")))
	c.must("secrets:edit")
}

// crash lets the program die, with core files allowed, of a signal that means a
// core file to any other program, while an editor has the plaintext.
func (c *canaries) crash() {
	c.t.Helper()
	c.editor("kill -ABRT $PPID\n")
	cmd := c.command("/bin/sh", "-c", `ulimit -c unlimited; exec "$0" secrets:edit`, c.program)
	err := cmd.Run()
	require.Error(c.t, err)
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(c.t, ok)
	assert.False(c.t, status.CoreDump(), "a core file: %v", err)
	c.editor("exit 0\n")
	c.run("secrets:edit") // takes away what the killed one left
}

// search is a script that prints each secret that a file of the server has, and
// the file. It looks for all of them at once.
func (c *canaries) search() string {
	var patterns strings.Builder
	for _, needle := range c.needles {
		fmt.Fprintf(&patterns, "%s\n", needle)
	}
	return "grep -raoFH -f - " + placesOfTheServer + " 2>/dev/null <<'END' || true\n" + patterns.String() + "END\n"
}
