package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

const keyFile = "var/lib/sops-nix/key.txt"

// ownKey is a project whose host one has an age key that no other machine has.
func ownKey(t *testing.T) (r *rotator, key string) {
	t.Helper()
	r = newRotator(t, "one", "two")
	h := r.hosts["one"]
	h.OwnAgeKey = true
	r.hosts["one"] = h
	made, err := secrets.ServerKeyFor(t.Context(), r.Dir, r.keys(), "one", []string{secretsPath})
	require.NoError(t, err)
	key = string(made.KeyFile())
	require.NoError(t, os.WriteFile(r.servers["one"].Path(keyFile), []byte(key), 0o600))
	r.know(ourHosts())
	return r, key
}

// TestUpdateKnowsAServersOwnAgeKey by its hash, since the key is nowhere on this machine.
func TestUpdateKnowsAServersOwnAgeKey(t *testing.T) {
	t.Parallel()
	r, key := ownKey(t)
	s := r.servers["one"]
	r.mustUpdate("one")
	r.mustUpdate("two")

	other := otherKey(key)
	require.NoError(t, os.WriteFile(s.Path(keyFile), []byte(other), 0o600))
	r.write("nix/x.nix", "{ }")
	r.know(ourHosts())
	_, err := r.update("one", quick())
	failure(t, err, CodeFailed, "no age key of the server", "secrets:rotate -host=one")
	found := r.Check(t.Context(), CheckOptions{Host: "one"})
	assert.Equal(t, secrets.Fail, find(t, found, "one: age key").Status)

	require.NoError(t, os.Remove(filepath.Join(r.Dir, ".vps/trust.json")))
	agreed := quick()
	agreed.Yes = true
	_, err = r.update("one", agreed)
	require.NoError(t, err, "a key that a colleague made is unknown here, which refuses nothing")
}

// TestUpdateGivesNoKeyOfThisMachineToAServerWithItsOwn: not even to one without any.
func TestUpdateGivesNoKeyOfThisMachineToAServerWithItsOwn(t *testing.T) {
	t.Parallel()
	r, _ := ownKey(t)
	require.NoError(t, os.Remove(r.servers["one"].Path(keyFile)))
	r.log = observe.To(term.New(strings.NewReader("y\ny\n"), &buffer{}, r.story, term.WithTerminal(100, 30)).Observer())
	_, err := r.update("one", quick())
	failure(t, err, CodeFailed, "no age key at /"+keyFile, "secrets:rotate -host=one")
	assert.NoFileExists(t, r.servers["one"].Path(keyFile))
}

// TestRotateOneHostOverSSH replaces the key of one server, and no other one.
func TestRotateOneHostOverSSH(t *testing.T) {
	t.Parallel()
	r, before := ownKey(t)
	r.mustUpdate("one")
	one := func() error {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(r.servers["one"].HostKeyLine()))
		require.NoError(t, err)
		return secrets.RotateServer(t.Context(), r.Dir, "one", secrets.RotateOptions{
			Console: quiet{r.said}, Remote: r.RotateHosts(t.Context(), quick()), Getenv: noEnv, Accept: []string{ssh.FingerprintSHA256(key)},
		})
	}
	require.NoError(t, one(), "%s", r.said)
	assert.Contains(t, r.said.String(), "the old key stays on one")
	r.nobodyLockedOut("one")
	r.collectGarbage("one")
	require.NoError(t, one(), "%s", r.said)
	r.nobodyLockedOut("one")

	after := r.servers["one"].ReadFile(keyFile)
	assert.NotEqual(t, before, after)
	assert.Equal(t, 1, strings.Count(after, "AGE-SECRET-KEY"))
	assert.NotContains(t, after, strings.TrimSpace(string(r.keys().KeyFile())), "the key of this machine")
	assert.Equal(t, string(r.keys().KeyFile()), r.servers["two"].ReadFile(keyFile), "another server's")
	old, err := secrets.ParseIdentities([]byte(before))
	require.NoError(t, err)
	_, err = secrets.VerifyBytes([]byte(r.servers["one"].ReadFile("etc/nixos/secrets/secrets.yaml")), old)
	require.ErrorIs(t, err, secrets.ErrWrongKey)
	assert.NotContains(t, r.said.String()+r.story.String(), "AGE-SECRET-KEY", "no log shows a key")
}

// TestServerThatDecryptsWithItsSSHHostKey: update, check and rotate take the public half
// for what it is, and give it no key.
func TestServerThatDecryptsWithItsSSHHostKey(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one")
	h := r.hosts["one"]
	h.System = "x86"
	r.hosts["one"] = h
	s := r.servers["one"]
	require.NoError(t, os.Remove(s.Path(keyFile)))
	byHostKey := func() map[string]facts.Host {
		return edited(ourHosts(), func(h *facts.Host) { h.Age = &facts.Age{SSHKeyPaths: []string{"/etc/ssh/ssh_host_ed25519_key"}} })
	}
	r.know(byHostKey())
	r.mustUpdate("one") // what is not known refuses nothing

	public := s.Path("etc/ssh/ssh_host_ed25519_key.pub")
	require.NoError(t, os.MkdirAll(filepath.Dir(public), 0o755))
	line := stranger(t)
	recipient, err := secrets.SSHRecipient(line)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(public, []byte(line), 0o644))
	r.write("nix/x.nix", "{ }")
	r.know(byHostKey())
	_, err = r.update("one", quick())
	failure(t, err, CodeFailed, "decrypts with the server's SSH host key", "add "+recipient+" to .sops.yaml")
	assert.Equal(t, secrets.Fail, find(t, r.Check(t.Context(), CheckOptions{Host: "one"}), "one: age key").Status)

	rules := filepath.Join(r.Dir, ".sops.yaml")
	text, err := os.ReadFile(rules)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(rules, append(text, "      - "+recipient+" # host one\n"...), 0o644))
	_, err = secrets.Init(t.Context(), r.Dir, secrets.InitOptions{Console: quiet{r.said}, Getenv: noEnv, Accept: []string{recipient}})
	require.NoError(t, err)
	r.know(byHostKey())
	r.mustUpdate("one")
	assert.Equal(t, secrets.Pass, find(t, r.Check(t.Context(), CheckOptions{Host: "one"}), "one: age key").Status)

	before := r.keys()
	require.NoError(t, r.rotate(nil), "%s", r.said)
	assert.NoFileExists(t, s.Path(keyFile), "it is given no key")
	assert.NotEqual(t, before.Hashes(), r.keys().Hashes())
	seen, err := r.RotateHosts(t.Context(), quick()).Look(t.Context(), "one")
	require.NoError(t, err)
	assert.Equal(t, []string{recipient}, seen.SSH)
}
