package deploy

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
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
	c.allowExample = false
	_, err := secrets.Init(c.t.Context(), c.Dir, secrets.InitOptions{Console: nobody{}})
	require.NoError(c.t, err)
	c.set("gateway-token", "a token")
	c.set("ssh-public-key", string(ssh.MarshalAuthorizedKey(c.server.ClientKey().PublicKey())))
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
	script := strings.Replace(fmt.Sprintf(engineAnswers, "exit 1", "exit 1", "exit 1"), "image) echo sha256:1 ;;",
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
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	return string(ssh.MarshalAuthorizedKey(key))
}

// nixSays lets Nix say something else about the outputs.
func (c *candidate) nixSays(edit func(*facts.Host)) {
	c.t.Helper()
	c.hostsOfNix = edited(ourHosts(), edit)
	c.engine(fmt.Sprintf(engineAnswers, "exit 1", "exit 1", "exit 1"))
}
