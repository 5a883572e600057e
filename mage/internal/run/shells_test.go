package run

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// commands are all that is ever run on a server.
func commands(s Shell) map[string]Command {
	return map[string]Command{
		"facts": s.Facts(FactsQuery{AgeKey: "/k"}), "session": s.Session(FactsQuery{AgeKey: "/k", Manifest: true, Units: true}),
		"generations": s.Generations(), "forget": s.Forget("id"), "follow": s.Follow("id", 7), "probe": s.Probe("id", time.Second, "/s"),
		"cancel": s.Cancel("id"), "put key": s.PutKey("/k", []byte("secret\n")), "key uses": s.KeyUses(), "inspect": s.Inspect(),
		"fresh": s.Fresh([]string{"/dev/a b"}), "admit": s.Admit(Admission{}), "expel": s.Expel(Admission{}),
		"end left": s.EndLeft("p"), "optimise": s.Optimise(), "reboot": s.Reboot(), "read": s.ReadTreeFile("a 'b'"),
	}
}

// The login's shell may be fish, tcsh, elvish or nushell: nothing but plain words is for
// it to read. All else comes on standard input, for /bin/sh, and is carried out only
// once it is there whole.
func TestLinesArePlainWords(t *testing.T) {
	t.Parallel()
	plain := regexp.MustCompile(`^[a-z0-9/=-]+( [a-z0-9/=-]+)*$`)
	for _, s := range []Shell{{}, {Root: Sudo}, {Root: Doas}, {Root: Run0}} {
		for name, c := range commands(s) {
			assert.Regexp(t, plain, c.Line, name)
			assert.True(t, strings.HasPrefix(c.Stdin, "{\n") && strings.HasSuffix(c.Stdin, "\n}\n"), name)
			check := exec.CommandContext(t.Context(), "/bin/sh", "-n")
			check.Stdin = strings.NewReader(c.Stdin)
			out, err := check.CombinedOutput()
			assert.NoError(t, err, "%s: %s", name, out)
		}
	}
}

// A connection that breaks in the middle of a script leaves nothing that is run.
func TestHalfAScriptDoesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, c := range commands(Shell{}) {
		if name == "reboot" || name == "optimise" {
			continue // they know no other root than this machine's
		}
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-s")
		cmd.Env = append(os.Environ(), "VPS_ROOT="+root)
		cmd.Stdin = strings.NewReader(c.Stdin[:len(c.Stdin)-len("}\n")])
		out, _ := cmd.Output()
		assert.Empty(t, string(out), name)
		left, err := os.ReadDir(root)
		require.NoError(t, err)
		assert.Empty(t, left, name)
	}
}

// What the shells of real logins make of a line and a script: those that are here.
func TestLoginShells(t *testing.T) {
	t.Parallel()
	found := 0
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "fish", "tcsh", "elvish", "nu", "xonsh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		found++
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			root := bareRoot(t)
			c := Shell{}.Facts(FactsQuery{})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, "-c", c.Line)
			cmd.Env = append(os.Environ(), "VPS_ROOT="+root, "HOME="+t.TempDir())
			cmd.Stdin = strings.NewReader(c.Stdin)
			out, err := cmd.Output()
			require.NoError(t, err)
			_, err = ParseFacts(bytes.NewReader(out))
			assert.NoError(t, err, "%s", out)
		})
	}
	require.NotZero(t, found)
}

// bareRoot is a server that is no NixOS: no /nix, no /boot, no runs.
func bareRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("ID=alpine\nPRETTY_NAME=\"Alpine Linux v3.20\"\n"), 0o644))
	return root
}

// README's own path asks a fresh Debian, Ubuntu or Alpine for its facts. It kept a
// shell there that spun for ever. busybox is what Alpine has in the place of every
// program.
func TestFactsOfABareServer(t *testing.T) {
	t.Parallel()
	shells := map[string][]string{"sh": {"/bin/sh", "-s"}}
	path := os.Getenv("PATH")
	if busybox, err := exec.LookPath("busybox"); err == nil {
		shells["busybox"] = []string{busybox, "sh", "-s"}
	}
	for name, argv := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, path := bareRoot(t), path
			if name == "busybox" {
				path = t.TempDir()
				install := exec.CommandContext(t.Context(), argv[0], "--install", "-s", path)
				out, err := install.CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			for what, c := range map[string]Command{
				"facts":   Shell{}.Facts(FactsQuery{AgeKey: "/var/lib/sops-nix/key.txt", Manifest: true, Units: true}),
				"session": Shell{}.Session(FactsQuery{AgeKey: "/var/lib/sops-nix/key.txt", Manifest: true}),
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
				cmd.Env = []string{"VPS_ROOT=" + root, "PATH=" + path}
				cmd.Stdin = strings.NewReader(c.Stdin) // and then the laptop is gone
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				require.NoError(t, err, "%s: %s", what, &stderr)
				facts, err := ParseFacts(bytes.NewReader(out))
				require.NoError(t, err, "%s: %s", what, out)
				assert.False(t, facts.NixOS)
				assert.Equal(t, "Alpine Linux v3.20", facts.OS)
				assert.Equal(t, TreeMissing, facts.TreeKind)
				assert.NotZero(t, facts.FreeNix, "where /nix would be")
				assert.Empty(t, facts.Lacks, "of a NixOS only")
			}
		})
	}
}
