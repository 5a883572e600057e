package mage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/terminal"
	"github.com/magefile/mage/parse"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secretsSession is a session in a copy of what a fresh clone has, with nobody
// at the terminal.
func secretsSession(t *testing.T) (s *session, stdout, stderr *bytes.Buffer) {
	t.Helper()
	for _, name := range []string{"SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_EDITOR"} {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	for _, name := range []string{".sops.yaml", ".gitignore", "secrets/secrets.yaml", "testdata/age-key.txt"} {
		data, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	require.NoError(t, os.CopyFS(filepath.Join(dir, "nix"), os.DirFS(filepath.Join("..", "nix"))))
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	ui := term.New(strings.NewReader(""), stdout, stderr)
	project, err := deploy.Open(dir, terminal.On(ui))
	require.NoError(t, err)
	return &session{project, ui}, stdout, stderr
}

func TestSecretsFromAFreshCloneOn(t *testing.T) {
	s, stdout, stderr := secretsSession(t)
	ctx := t.Context()
	require.NoError(t, s.getSecret(ctx, "gateway-token", "", false), "works at once")
	assert.True(t, strings.HasPrefix(stdout.String(), "example-"), stdout)
	assert.Contains(t, stderr.String(), "public example key")
	require.NoError(t, s.checkSecrets(ctx, "", false))
	file := filepath.Join(t.TempDir(), "value")
	require.NoError(t, os.WriteFile(file, []byte("hunter2\n"), 0o600))
	require.ErrorContains(t, s.setSecret(ctx, "gateway-token", file, ""), "everybody can decrypt")

	pub := filepath.Join(t.TempDir(), "id.pub")
	require.NoError(t, os.WriteFile(pub, []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdpcwvIXLk2dVmwnTWV5fhHkrSRGWEUqqMFV7lZfRZl me\n"), 0o644))
	require.NoError(t, s.initSecrets(ctx, pub, ""))
	require.NoError(t, s.setSecret(ctx, "gateway-token", file, ""))
	stdout.Reset()
	stderr.Reset()
	require.NoError(t, s.getSecret(ctx, "gateway-token", "", false))
	assert.Equal(t, "hunter2\n", stdout.String(), "the value alone, to the byte")
	assert.Empty(t, stderr.String())

	t.Setenv("EDITOR", "sed -i.bak s/hunter2/hunter3/")
	require.NoError(t, s.editSecrets(ctx, "", ""))
	stdout.Reset()
	require.NoError(t, s.listSecrets(ctx, "", false))
	assert.Regexp(t, `(?m)^gateway-token +yes +yes +openclaw +/run/secrets/gateway-token$`, stdout.String())
	assert.Regexp(t, `(?m)^ssh-public-key +yes +yes +every user +/run/secrets-for-users/ssh-public-key$`, stdout.String())
	assert.NotContains(t, stdout.String(), "hunter")
	require.NoError(t, s.checkSecrets(ctx, "", true))
	assert.Contains(t, stdout.String(), `"status": "pass"`)

	require.NoError(t, s.setSecret(ctx, "surplus", file, ""))
	err := s.checkSecrets(ctx, "", false)
	require.Error(t, err)
	assert.Equal(t, int(deploy.CodeFindings), deploy.ExitStatus(err))
	assert.NotContains(t, stderr.String(), "hunter")
}

// TestSecretsAreNeverArguments: a value there would be in the shell's history
// and in the list of processes.
func TestSecretsAreNeverArguments(t *testing.T) {
	t.Parallel()
	info, err := parse.PrimaryPackage("go", ".", []string{"secrets_targets.go"}, false)
	require.NoError(t, err)
	seen := 0
	for _, f := range info.Funcs {
		for _, arg := range f.Args {
			seen++
			assert.Contains(t, []string{"name", "file", "from", "sshkey", "json", "yes", "copy", "who", "host"}, arg.Name, f.TargetName())
		}
	}
	assert.Equal(t, 19, seen)
}

// A value that somebody else set must not reach the terminal as it is: an escape
// sequence could fill the clipboard or rewrite what the screen shows.
func TestAValueCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "a\\x07b\tc\nd", shown("a\x07b\tc\n\x1b]52;c;ZXZpbA==\x07d"))
	long := strings.Repeat("0123456789", 1000) + "\u202e"
	assert.Equal(t, strings.Repeat("0123456789", 1000)+`\u202e`, shown(long), "no value is cut")
	assert.Equal(t, "plain\n", shown("plain\n"))
}

func TestClipboard(t *testing.T) {
	t.Parallel()
	text, err := clipboard("hunter2")
	require.NoError(t, err)
	assert.Equal(t, "\x1b]52;c;aHVudGVyMg==\a", text)
	_, err = clipboard(strings.Repeat("x", maxClipboard+1))
	require.ErrorContains(t, err, "do not fit")
}
