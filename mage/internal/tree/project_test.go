package tree

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/stretchr/testify/require"
)

// The environment of whoever runs the tests is not part of them.
func TestMain(m *testing.M) {
	os.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Exit(m.Run())
}

const enc = "ENC[AES256_GCM,data:q83vEg==,iv:AAECAwQFBgc=,tag:CAkKCwwNDg8=,type:str]"

// sealed is a secrets file that passes the structural look. The second value
// is what sops makes of an empty string.
const sealed = "password: " + enc + "\nempty: \"\"\nsops:\n    age:\n        - recipient: age1example\n          enc: x\n" +
	"    lastmodified: \"2026-01-01T00:00:00Z\"\n    mac: " + enc + "\n    version: 3.13.3\n"

// project makes a project folder with what every project needs and the given
// files: "-> target" makes a link, "#!" an executable.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"nix/flake.nix":        "{ outputs = _: { }; }\n",
		"secrets/secrets.yaml": sealed,
		".sops.yaml":           "creation_rules: []\n",
	})
	write(t, dir, files)
	return dir
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		full := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			require.NoError(t, os.Symlink(target, full))
			continue
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		require.NoError(t, os.WriteFile(full, []byte(text), mode))
		require.NoError(t, os.Chmod(full, mode))
	}
}

// git runs git in dir and gives what it prints.
func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	cmd := exec.Command("git", append([]string{
		"-C", dir, "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", "-c", "advice.graftFileDeprecated=false",
		"-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always",
	}, args...)...)
	cmd.Env = git.Environment(os.Environ())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

// repository makes a project that is committed.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := project(t, files)
	runGit(t, dir, "init", "-q")
	commit(t, dir)
	return dir
}

func commit(t *testing.T, dir string) string {
	t.Helper()
	runGit(t, dir, "add", "-A")
	runGit(t, dir, "commit", "-q", "-m", "state", "--allow-empty")
	return runGit(t, dir, "rev-parse", "HEAD")
}

func collect(t *testing.T, dir string) *Tree {
	t.Helper()
	tr, err := Collect(context.Background(), dir)
	require.NoError(t, err)
	return tr
}

func paths(m Manifest) []string {
	var all []string
	for _, e := range m.Entries() {
		all = append(all, e.Path)
	}
	return all
}
