package secrets

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/plugin"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// yubikey is a plugin's identity, of a plugin that is not installed.
var yubikey = plugin.EncodeIdentity("yubikey", []byte("slot 1"))

// A plugin's line beside an ordinary key spoiled the whole file: the ordinary key
// was not used, and the advice was to restore the file from a backup.
func TestAPluginBesideAnOrdinaryKey(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	for name, line := range map[string]string{"a plugin's": yubikey, "one that no plugin writes": "AGE-PLUGIN-YUBIKEY-1QQPQYQSZQGPQYQSZQGPQYQSZQG5ZQ2ZK"} {
		file := filepath.Join(t.TempDir(), "keys.txt")
		require.NoError(t, os.WriteFile(file, []byte("# a YubiKey, then an ordinary key\n"+line+"\n"+string(ids.KeyFile())), 0o600))
		require.NoError(t, os.RemoveAll(project.KeyFile()))
		loaded, err := Sources{Dir: project.Dir, Getenv: only("SOPS_AGE_KEY_FILE", file)}.Load(t.Context())
		require.NoError(t, err, name)
		value, err := project.Get(loaded, "database.password")
		require.NoError(t, err, name)
		assert.Equal(t, "hunter 2", value)
		assert.Equal(t, ids.Recipients(), loaded.Recipients())
		assert.Equal(t, string(ids.KeyFile()), string(loaded.KeyFile()), "no server gets a plugin's line")
		_, err = project.Set(t.Context(), loaded, "database.password", "hunter 3")
		require.NoError(t, err)
		_, err = project.Set(t.Context(), loaded, "database.password", "hunter 2")
		require.NoError(t, err)
	}
}

func only(name, value string) func(string) string {
	return func(asked string) string {
		if asked == name {
			return value
		}
		return ""
	}
}

func TestAPluginThatIsNotInstalledIsNamed(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	ids, err := ParseIdentities([]byte(yubikey + "\n"))
	require.NoError(t, err)
	_, err = project.Get(ids, "gateway-token")
	require.ErrorIs(t, err, ErrWrongKey)
	assert.ErrorContains(t, err, "age-plugin-yubikey")
}

// A real plugin, built by age's own framework, is run by age's own client.
func TestARealPlugin(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "age-plugin-test"), "./testdata/age-plugin-test")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("AGE_PLUGIN_TEST_LOG", log)
	key, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	recipient := plugin.EncodeRecipient("test", publicBytes(t, key))
	line := plugin.EncodeIdentity("test", []byte(key.String()))
	ids, err := ParseIdentities([]byte(line + "\n"))
	require.NoError(t, err)

	project := Project{Dir: t.TempDir()}
	require.NoError(t, os.MkdirAll(project.SecretsDir(), 0o755))
	writeText(t, project.RulesFile(), "creation_rules:\n  - age: "+recipient+"\n")
	writeText(t, project.SecretsFile(), string(encryptYAML(t, project, exampleYAML)))

	value, err := project.Get(ids, "database.password")
	require.NoError(t, err)
	assert.Equal(t, "hunter 2", value)
	uses := strings.Count(string(readAll(t, log)), "identity")
	_, err = project.Set(t.Context(), ids, "database.password", "hunter 3")
	require.NoError(t, err)
	assert.Equal(t, uses, strings.Count(string(readAll(t, log)), "identity"), "what was touched for once is not asked for again")
	sops := newRealSops(t, project)
	require.NoError(t, os.WriteFile(project.KeyFile(), []byte(line+"\n"), 0o600))
	sopsReads := sops.command("false", "-d", "--extract", `["database"]["password"]`, "secrets/secrets.yaml")
	sopsReads.Env = append(sopsReads.Env, "AGE_PLUGIN_TEST_LOG="+log)
	got, err := sopsReads.Output()
	require.NoError(t, err, stderrOf(err))
	assert.Equal(t, "hunter 3", string(got))

	both, err := ParseIdentities([]byte(line + "\n" + string(newIdentities(t, 1).KeyFile())))
	require.NoError(t, err)
	other := newProject(t, newIdentities(t, 1), "a: b\n")
	before := string(readAll(t, log))
	native := both.quiet()
	writeText(t, other.RulesFile(), "creation_rules:\n  - age: "+recipient+","+native.Recipients()[0]+"\n")
	writeText(t, other.SecretsFile(), string(encryptYAML(t, other, "a: b\n")))
	_, err = other.Get(both, "a")
	require.NoError(t, err)
	assert.Equal(t, strings.Count(before, "identity"), strings.Count(string(readAll(t, log)), "identity"), "no touch where an ordinary key decrypts")
}

// publicBytes are those of a key, from the text of its recipient: a plugin's may
// hold the same ones.
func publicBytes(t *testing.T, key *age.X25519Identity) []byte {
	t.Helper()
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	var bits, have uint
	var out []byte
	text := strings.TrimPrefix(key.Recipient().String(), "age1")
	for _, char := range text[:len(text)-6] { // without the checksum
		bits, have = bits<<5|uint(strings.IndexRune(charset, char)), have+5
		if have >= 8 {
			have -= 8
			out = append(out, byte(bits>>have))
		}
	}
	require.Len(t, out, 32)
	return out
}

func TestSSHKeysDecrypt(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	plain, err := ssh.MarshalPrivateKey(private, "me@laptop")
	require.NoError(t, err)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "me@laptop", []byte("secret"))
	require.NoError(t, err)
	project := Project{Dir: t.TempDir()}
	require.NoError(t, os.MkdirAll(project.SecretsDir(), 0o755))
	recipient := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	writeText(t, project.RulesFile(), "creation_rules:\n  - age:\n      - "+recipient+" me@laptop\n")
	writeText(t, project.SecretsFile(), string(encryptYAML(t, project, exampleYAML)))
	home := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".ssh"), 0o700))
	file := filepath.Join(home, ".ssh", "id_ed25519")
	ask := func(context.Context, string) (string, error) { return "secret", nil }
	for name, c := range map[string]struct {
		key    *pem.Block
		getenv func(string) string
	}{
		"named":             {plain, only("SOPS_AGE_SSH_PRIVATE_KEY_FILE", file)},
		"with a passphrase": {locked, only("SOPS_AGE_SSH_PRIVATE_KEY_FILE", file)},
		"the usual one":     {plain, only("HOME", home)},
	} {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(c.key), 0o600))
		ids, err := Sources{Dir: project.Dir, Getenv: c.getenv, Ask: ask}.Load(t.Context())
		require.NoError(t, err, name)
		value, err := project.Get(ids, "database.password")
		require.NoError(t, err, name)
		assert.Equal(t, "hunter 2", value)
		assert.Empty(t, ids.KeyFile(), "no server gets an SSH key")
		_, err = project.Verify(ids)
		require.NoError(t, err, name)
	}
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(plain), 0o600))
	_, err = Sources{Dir: project.Dir, Getenv: only("SOPS_AGE_SSH_PRIVATE_KEY_FILE", file)}.Load(t.Context())
	require.NoError(t, err, "the one without a passphrase needs nobody")
}

func TestSopsOwnKeysFile(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	mine, other := ids.Only(ids.Recipients()[:1]), ids.Only(ids.Recipients()[1:])
	project := newProject(t, mine, exampleYAML)
	require.NoError(t, os.Remove(project.KeyFile()))
	home := t.TempDir()
	for name, c := range map[string]struct{ variable, value, file string }{
		"XDG_CONFIG_HOME": {"XDG_CONFIG_HOME", filepath.Join(home, "xdg"), filepath.Join(home, "xdg", "sops", "age", "keys.txt")},
		"~/.config":       {"HOME", home, filepath.Join(home, ".config", "sops", "age", "keys.txt")},
	} {
		writeKey(t, c.file, mine)
		loaded, err := Sources{Dir: project.Dir, Getenv: only(c.variable, c.value)}.Load(t.Context())
		require.NoError(t, err, name)
		assert.Equal(t, c.file, loaded.Source())
		writeKey(t, c.file, other)
		_, err = Sources{Dir: project.Dir, Getenv: only(c.variable, c.value)}.Load(t.Context())
		require.ErrorIs(t, err, ErrNoKey, "%s: a key of other projects is none of this one", name)
	}
}

func TestSopsAgeKeyAsPeopleSetIt(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	keygen := "# created: 2026-01-02T03:04:05Z\n# public key: " + ids.Recipients()[0] + "\n" + ids.all[0].line + "\n"
	dir := t.TempDir()
	for name, c := range map[string]struct {
		value string
		want  int
	}{
		"of cat":               {keygen, 1},
		"of cat, on one line":  {strings.ReplaceAll(keygen, "\n", " "), 1},
		"CRLF":                 {strings.ReplaceAll(keygen, "\n", "\r\n"), 1},
		"two with a blank":     {ids.all[0].line + " " + ids.all[1].line, 2},
		"one is commented out": {"# " + ids.all[0].line + "\n" + ids.all[1].line + "\n", 1},
	} {
		loaded, err := Sources{Dir: dir, Getenv: only("SOPS_AGE_KEY", c.value)}.Load(t.Context())
		require.NoError(t, err, name)
		assert.Equal(t, c.want, loaded.Len(), name)
	}
	_, err := Sources{Dir: dir, Getenv: only("SOPS_AGE_KEY", "# only a comment")}.Load(t.Context())
	require.Error(t, err)

	file := filepath.Join(dir, "key of mine")
	writeKey(t, file, ids)
	loaded, err := Sources{Dir: dir, Getenv: only("SOPS_AGE_KEY_CMD", "cat '"+file+"'")}.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, ids.Recipients(), loaded.Recipients())
	for _, command := range []string{"false", "echo nonsense", "true"} {
		_, err = Sources{Dir: dir, Getenv: only("SOPS_AGE_KEY_CMD", command)}.Load(t.Context())
		require.ErrorContains(t, err, "SOPS_AGE_KEY_CMD", command)
		assert.NotEmpty(t, next.Of(err).String())
	}
}

// A key that is there and cannot be opened now is not replaced by a new one.
func TestInitMakesNoKeyBesideALockedOne(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	locked, err := encryptScrypt(ids.KeyFile(), "secret", 10)
	require.NoError(t, err)
	elsewhere := filepath.Join(t.TempDir(), "keys.txt")
	require.NoError(t, os.WriteFile(elsewhere, locked, 0o600))
	require.NoError(t, os.Remove(project.KeyFile()))
	_, err = Init(t.Context(), project.Dir, InitOptions{Console: &fakeConsole{absent: true}, Getenv: only("SOPS_AGE_KEY_FILE", elsewhere)})
	require.ErrorContains(t, err, "protected by a passphrase")
	assert.NoFileExists(t, project.KeyFile(), "it would shadow SOPS_AGE_KEY_FILE")
}

// Two groups want a key of each: one key at hand is not "none of the keys".
func TestTwoKeyGroupsAreExplained(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	project := emptyProject(t, ids, "")
	writeText(t, project.RulesFile(), "creation_rules:\n  - path_regex: secrets/[^/]+\\.yaml$\n    key_groups:\n      - age:\n          - "+
		ids.Recipients()[0]+"\n      - age:\n          - "+ids.Recipients()[1]+"\n")
	writeKey(t, project.KeyFile(), ids.Only(ids.Recipients()[:1]))
	confirm(t, project, ids.Recipients()...)
	_, err := Init(t.Context(), project.Dir, InitOptions{Console: &fakeConsole{absent: true}, Getenv: noEnvironment})
	require.ErrorContains(t, err, "a key of 2 of the 2 key groups is wanted, and those at hand open 1")
	assert.Contains(t, next.Of(err).String(), "shamir_threshold: 1")
	assert.NoFileExists(t, project.SecretsFile())

	writeText(t, project.SecretsFile(), string(encryptYAML(t, project, "a: b\n")))
	_, err = project.Get(mustLoad(t, project), "a")
	require.ErrorContains(t, err, "key groups")
	assert.Contains(t, next.Of(err).String(), "one group")
}
