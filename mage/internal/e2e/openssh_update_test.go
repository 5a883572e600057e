package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// targets is the program that "go tool mage" makes of this repository's targets
// and runs.
type targets string

func TestTargets(t *testing.T) {
	t.Parallel()
	e2e.Require(t, "/usr/sbin/sshd", "sops", "age-keygen")
	program := filepath.Join(t.TempDir(), "targets")
	cmd := exec.Command("go", "tool", "mage", "-compile", program)
	cmd.Dir = filepath.Dir(filepath.Dir(e2e.Recipe()))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Run("OpenSSH", func(t *testing.T) {
		t.Parallel()
		everyTargetOverOpenSSH(t, targets(program))
	})
	t.Run("real server", func(t *testing.T) {
		t.Parallel()
		targetsOnARealServer(t, targets(program))
	})
}

// answer is what a target left: its exit status and both of its streams.
type answer struct {
	status         int
	stdout, stderr string
}

// run runs one target in a project, as a person would without a terminal.
func (p targets) run(t *testing.T, dir string, args ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, string(p), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "VPS_SSH_CONFIG=none", "SSH_AUTH_SOCK=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(t, err, &exit)
	}
	return answer{status: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// Debian's own sshd in front of a played host: the command line as people have
// it, from the first update to the rollback.
func everyTargetOverOpenSSH(t *testing.T, program targets) {
	p := e2e.NewProject(t)
	identity, recipient := ageKey(t)
	p.Secrets(identity, recipient)
	host := vpstest.Start(t, vpstest.WithAgeKey(identity+"\n"))
	sshd := e2e.StartOpenSSH(t, map[string]string{
		"VPS_ROOT": host.Root(), "PATH": host.Path("run/current-system/sw/bin"),
	}, host.Path("root"))
	p.Hosts(e2e.Host{Name: "web", Address: "127.0.0.1", Port: sshd.Port, KeyFile: sshd.KeyFile, HostKey: sshd.HostKey})
	update := []string{"update", "web", "-settle=0s"}

	got := program.run(t, p.Dir, "diff", "web")
	require.Equal(t, 0, got.status, got.stderr)
	assert.Contains(t, got.stdout, "flake.nix")

	got = program.run(t, p.Dir, update...)
	require.Equal(t, 0, got.status, got.stderr)
	assert.Equal(t, "HOST RESULT BEFORE AFTER TIME", strings.Join(strings.Fields(firstLine(got.stdout)), " "))
	assert.Contains(t, got.stdout, "updated")
	assert.Contains(t, got.stderr, "web: building")
	assert.NotContains(t, got.stdout, "building")
	assert.Contains(t, host.Files(), "flake.nix")
	first := host.Manifest()

	got = program.run(t, p.Dir, update...)
	assert.Equal(t, 0, got.status, got.stderr)
	assert.Contains(t, got.stdout, "nothing to do")
	got = program.run(t, p.Dir, "diff", "web")
	assert.Equal(t, 0, got.status)
	assert.Empty(t, got.stdout)
	assert.Contains(t, got.stderr, "no difference")

	p.Write("nix/new.nix", "{ }\n")
	got = program.run(t, p.Dir, "diff", "web")
	assert.Contains(t, got.stdout, "new.nix")
	require.Equal(t, 0, program.run(t, p.Dir, update...).status)
	assert.Contains(t, host.Files(), "new.nix")

	got = program.run(t, p.Dir, "generations", "web", "-json")
	require.Equal(t, 0, got.status, got.stderr)
	var generations []struct {
		Generation       int
		Current, Default bool
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &generations), got.stdout)
	require.Len(t, generations, 3)
	assert.True(t, generations[2].Current && generations[2].Default)

	got = program.run(t, p.Dir, "rollback", "web")
	require.Equal(t, 0, got.status, got.stderr)
	assert.Equal(t, first, host.Manifest())
	got = program.run(t, p.Dir, "status", "web")
	require.Equal(t, 0, got.status, got.stderr)
	assert.Contains(t, got.stdout, "as committed")

	p.Write("nix/"+vpstest.ConfFile, vpstest.System{Exit: 2}.Conf())
	got = program.run(t, p.Dir, update...)
	assert.Equal(t, 3, got.status, got.stderr)
	assert.Contains(t, got.stdout, "rolled back")
	assert.Contains(t, got.stderr, "run: "+string(program)+" update web", "the next command")
	assert.Equal(t, first, host.Manifest())
	assert.Equal(t, 2, program.run(t, p.Dir, "update", "nobody-knows-it").status)
	assert.Equal(t, 2, program.run(t, p.Dir, "update", "web", "-parallel=0").status)
	p.Write("vps.yaml", "hosts:\n  web:\n    adress: x\n")
	got = program.run(t, p.Dir, update...)
	assert.Equal(t, 2, got.status)
	assert.Contains(t, got.stderr, "vps.yaml:3")
	assert.Empty(t, got.stdout)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// ageKey makes a key as age-keygen does.
func ageKey(t *testing.T) (identity, recipient string) {
	t.Helper()
	out, err := exec.Command("age-keygen").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		if key, ok := strings.CutPrefix(line, "# public key: "); ok {
			recipient = strings.TrimSpace(key)
		} else if strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			identity = strings.TrimSpace(line)
		}
	}
	return identity, recipient
}

// The same program against a real server: exit statuses that come from real
// parts.
func targetsOnARealServer(t *testing.T, program targets) {
	s := e2e.Start(t)
	p := s.Project()
	s.Exec("mkdir /etc/nixos && echo mine >/etc/nixos/configuration.nix")
	p.Set("note", "by command line")
	got := program.run(t, p.Dir, "update", "web", "-settle=0s", "-confirm=30s")
	require.Equal(t, 0, got.status, got.stderr)
	assert.Contains(t, got.stdout, "updated")
	assert.Contains(t, got.stderr, "kept on the server in /var/lib/vps/kept/")
	assert.Equal(t, "mine", s.Exec("cat /var/lib/vps/kept/*/configuration.nix"))
	assert.Equal(t, s.Current(), s.Default())
	before := stand(s)

	p.Set("sshEnable", false)
	got = program.run(t, p.Dir, "update", "web", "-settle=0s", "-confirm=5s")
	assert.Equal(t, 3, got.status, got.stderr)
	assert.Equal(t, before, stand(s))
	p.Set("sshEnable", true)

	p.Set("note", "unwatched")
	got = program.run(t, p.Dir, "update", "web", "-confirm=0s")
	assert.Equal(t, 0, got.status, got.stderr)
	assert.Contains(t, got.stderr, "no watchdog")
	s.Kill()
	assert.Equal(t, 4, program.run(t, p.Dir, "status", "web").status)
}
