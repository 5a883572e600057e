package deploy

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func deadlines(phase string) map[string]time.Duration {
	return map[string]time.Duration{phase: time.Second}
}

func (c *candidate) remove(path string) {
	c.t.Helper()
	require.NoError(c.t, os.Remove(c.server.Path(path)))
}

// gone removes a file of the project.
func (c *candidate) gone(path string) {
	c.t.Helper()
	require.NoError(c.t, os.Remove(filepath.Join(c.Dir, path)))
}

// nobody is a person who is not there.
type nobody struct{}

func (nobody) Interactive() bool                                 { return false }
func (nobody) Say(string, ...any)                                {}
func (nobody) Ask(context.Context, string) (string, error)       { return "", io.EOF }
func (nobody) AskHidden(context.Context, string) (string, error) { return "", io.EOF }

// ownSecrets gives the project a key of its own in place of the example's, and
// lets the client's SSH key log in.
func (c *candidate) ownSecrets() {
	c.t.Helper()
	c.AllowExample = false
	_, err := secrets.Init(c.t.Context(), c.Dir, secrets.InitOptions{Console: nobody{}})
	require.NoError(c.t, err)
	c.set("gateway-token", "a token")
	c.set(loginSecret, string(ssh.MarshalAuthorizedKey(c.server.ClientKey().PublicKey())))
}

// example brings the public example key back.
func (c *candidate) example() {
	c.gone("secrets/age-key.txt")
	for _, path := range []string{"secrets/secrets.yaml", ".sops.yaml"} {
		copyInto(c.t, filepath.Join(repository, path), filepath.Join(c.Dir, path))
	}
}

func (c *candidate) user(name string) {
	h := c.hosts["web"]
	h.User = name
	c.hosts["web"] = h
}

func (c *candidate) noImage() {
	script := strings.Replace(fmt.Sprintf(engineAnswers, "exit 1"), "image) echo sha256:1 ;;",
		"image) echo 'Error: No such image' >&2; exit 1 ;;\npull) echo 'manifest unknown' >&2; exit 1 ;;", 1)
	c.engine(script)
}

func (c *candidate) set(name, value string) {
	c.t.Helper()
	ids, err := c.identities(c.t.Context())
	require.NoError(c.t, err)
	_, err = secrets.Set(c.t.Context(), c.Dir, ids, name, value)
	require.NoError(c.t, err)
}

// stranger is the public key of somebody else.
func stranger(t *testing.T) string {
	t.Helper()
	pair, err := newKeyPair("somebody else")
	require.NoError(t, err)
	return pair.public
}

// declare makes nix/ ask for another secret.
func (c *candidate) declare(name string) {
	c.t.Helper()
	path := filepath.Join(c.Dir, "nix/modules/sops.nix")
	text, err := os.ReadFile(path)
	require.NoError(c.t, err)
	at := strings.LastIndex(string(text), "}")
	require.NoError(c.t, os.WriteFile(path, fmt.Appendf(nil, "%s  config.sops.secrets.%q = { };\n%s", text[:at], name, text[at:]), 0o600))
}

func TestReplaceKnownHost(t *testing.T) {
	t.Parallel()
	hashed := knownhosts.HashHostname("other") + " ssh-ed25519 AAAAold"
	ours := knownhosts.HashHostname("192.0.2.1") + " ssh-ed25519 AAAAold\n" + knownhosts.HashHostname("[192.0.2.1]:2222") + " ssh-rsa AAAAold\n"
	for name, tc := range map[string]struct{ before, after string }{
		"no file":         {"", "[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"both ports":      {"192.0.2.1 ssh-rsa AAAAold\n[192.0.2.1]:2222 ssh-ed25519 AAAAold\n", "[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"others stay":     {"# mine\nother ssh-rsa AAAAx\n192.0.2.1 ssh-rsa AAAAold\n", "# mine\nother ssh-rsa AAAAx\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"one of several":  {"other,192.0.2.1 ssh-rsa AAAAx\n", "other ssh-rsa AAAAx\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"marked and odd":  {"@revoked 192.0.2.1 ssh-rsa AAAAold\nnonsense\n", "@revoked 192.0.2.1 ssh-rsa AAAAold\nnonsense\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"other hash":      {hashed + "\n", hashed + "\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"our hashes":      {ours, "[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"no last newline": {"other ssh-rsa AAAAx", "other ssh-rsa AAAAx\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), ".ssh", "known_hosts")
			if tc.before != "" {
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
				require.NoError(t, os.WriteFile(file, []byte(tc.before), 0o644))
			}
			names := []string{"[192.0.2.1]:2222", "192.0.2.1"}
			for range 2 { // the second time changes nothing
				require.NoError(t, replaceKnownHost(file, names, "ssh-ed25519 AAAAnew web"))
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				assert.Equal(t, tc.after, string(text))
			}
			if tc.before == "" {
				assert.NoFileExists(t, file+".old")
				return
			}
			info, err := os.Stat(file)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o644), info.Mode().Perm())
			old, err := os.ReadFile(file + ".old")
			require.NoError(t, err)
			assert.Equal(t, tc.before, string(old))
		})
	}
}

func FuzzKnownHostsWithoutNames(f *testing.F) {
	f.Add([]byte("web ssh-rsa AAAA\n# a\n@revoked web ssh-rsa AAAA\nother,web ssh-rsa A\n"))
	f.Add([]byte("|1|a|b ssh-rsa AAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		once := withoutNames(text, []string{"web"})
		assert.Equal(t, once, withoutNames(once, []string{"web"}))
		assert.LessOrEqual(t, len(once), len(text)+1)
	})
}
