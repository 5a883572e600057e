package secrets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func noEnvironment(string) string { return "" }

func TestIdentitiesAndTheirHashes(t *testing.T) {
	t.Parallel()
	classic, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	quantum, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	text := "# created by age-keygen\r\n\n  " + classic.String() + "  \r\n# between\n" + quantum.String()

	ids, err := ParseIdentities([]byte(text))
	require.NoError(t, err)
	assert.Equal(t, []string{classic.Recipient().String(), quantum.Recipient().String()}, ids.Recipients())
	sum := sha256.Sum256([]byte(classic.String()))
	assert.Equal(t, hex.EncodeToString(sum[:]), ids.Hashes()[0])
	assert.Equal(t, classic.String()+"\n"+quantum.String()+"\n", string(ids.KeyFile()))
	assert.Equal(t, quantum.String()+"\n", string(ids.without(ids.Recipients()[:1]).KeyFile()))
	assert.False(t, ids.IsExample())
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s", ids, ids, ids, ids), "AGE-SECRET-KEY")
}

func TestPostQuantumKeysWork(t *testing.T) {
	t.Parallel()
	key, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	ids, err := ParseIdentities([]byte(key.String()))
	require.NoError(t, err)
	project := newProject(t, ids, exampleYAML)
	value, err := Get(project.Dir, ids, "database.password")
	require.NoError(t, err)
	assert.Equal(t, "hunter 2", value)
}

func TestWhereKeysAreFound(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 4)
	one := func(i int) *Identities { return ids.Only(ids.Recipients()[i : i+1]) }
	dir := t.TempDir()
	other := filepath.Join(t.TempDir(), "keys.txt")
	writeKey(t, other, one(1))
	environment := map[string]string{}
	load := func() (*Identities, error) {
		return Sources{Dir: dir, Getenv: func(name string) string { return environment[name] }}.Load(t.Context())
	}
	_, err := load()
	require.ErrorIs(t, err, ErrNoKey)
	assert.Contains(t, next.Of(err).String(), "secrets:init")

	environment["SOPS_AGE_KEY"] = string(one(2).KeyFile()) + " " + string(one(3).KeyFile())
	got, err := load()
	require.NoError(t, err)
	assert.Equal(t, ids.Recipients()[2:], got.Recipients())

	environment["SOPS_AGE_KEY_FILE"] = other
	got, err = load()
	require.NoError(t, err)
	assert.Equal(t, ids.Recipients()[1:2], got.Recipients())
	assert.Equal(t, other, got.Source())

	writeKey(t, Project{Dir: dir}.KeyFile(), one(0))
	got, err = load()
	require.NoError(t, err)
	assert.Equal(t, ids.Recipients()[:1], got.Recipients())
}

func TestBadKeyFiles(t *testing.T) {
	t.Parallel()
	good := string(newIdentities(t, 1).KeyFile())
	for name, text := range map[string]string{
		"empty":       "",
		"a comment":   "# nothing\n",
		"cut":         good[:40],
		"flipped":     strings.Replace(good, good[30:31], "x", 1),
		"ssh":         "-----BEGIN OPENSSH PRIVATE KEY-----\n",
		"plugin":      "AGE-PLUGIN-YUBIKEY-1QQQQ\n",
		"binary":      "\x00\xff",
		"long":        strings.Repeat("A", 1<<17),
		"two on one":  strings.TrimSpace(good) + " " + good,
		"broken lock": "age-encryption.org/v1\nrubbish",
	} {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(Project{Dir: dir}.SecretsDir(), 0o755))
		require.NoError(t, os.WriteFile(Project{Dir: dir}.KeyFile(), []byte(text), 0o600))
		_, err := Sources{Dir: dir, Getenv: noEnvironment, Ask: func(context.Context, string) (string, error) { return "x", nil }}.Load(t.Context())
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), good[15:40], name)
		assert.NotEmpty(t, next.Of(err).String(), name)
	}
}

func TestKeyFileMustBePrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeKey(t, Project{Dir: dir}.KeyFile(), newIdentities(t, 1))
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o644: false} {
		require.NoError(t, os.Chmod(Project{Dir: dir}.KeyFile(), mode))
		_, err := Sources{Dir: dir, Getenv: noEnvironment}.Load(t.Context())
		assert.Equal(t, ok, err == nil, "%#o: %v", mode, err)
		if err != nil {
			assert.Contains(t, next.Of(err).String(), "chmod 600")
		}
	}
}

func TestProtectedKeyFile(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	dir := t.TempDir()
	writeKey(t, Project{Dir: dir}.KeyFile(), ids)
	armoured, err := encryptScrypt(ids.KeyFile(), "correct horse", 10)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(Project{Dir: dir}.KeyFile(), armoured, 0o600))
	answer := func(text string, err error) AskPassphrase {
		return func(_ context.Context, file string) (string, error) {
			assert.Equal(t, Project{Dir: dir}.KeyFile(), file)
			return text, err
		}
	}
	load := func(ask AskPassphrase) (*Identities, error) {
		return Sources{Dir: dir, Getenv: noEnvironment, Ask: ask}.Load(t.Context())
	}
	got, err := load(answer("correct horse", nil))
	require.NoError(t, err)
	assert.Equal(t, ids.Recipients(), got.Recipients())
	assert.Equal(t, ids.KeyFile(), got.KeyFile(), "the server's is not protected")

	_, err = load(answer("wrong", nil))
	assert.ErrorContains(t, err, "wrong passphrase")
	_, err = load(answer("", errors.New("interrupted")))
	assert.ErrorContains(t, err, "interrupted")
	_, err = load(nil)
	assert.ErrorIs(t, err, errLocked)
}

func TestExampleIsRefusedWhereverItIs(t *testing.T) {
	t.Parallel()
	root := Project{Dir: filepath.Join("..", "..")}
	example, err := Sources{Getenv: noEnvironment}.fromFile(t.Context(), root.ExampleKeyFile(), false)
	require.NoError(t, err)
	line, _, _ := bytes.Cut(readAll(t, root.ExampleKeyFile()), []byte("\n"))
	assert.Contains(t, string(line), "public")
	assert.Contains(t, string(line), "worthless")

	dir := t.TempDir()
	writeKey(t, Project{Dir: dir}.KeyFile(), example)
	copied, err := Sources{Dir: dir, Getenv: noEnvironment}.Load(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, RefuseExample(copied, nil), ErrExampleKey)

	report, err := Verify(t.Context(), root.Dir, example)
	require.NoError(t, err, "the committed example decrypts and fits .sops.yaml")
	assert.Equal(t, []string{"gateway-token", "ssh-public-key"}, report.Names)
	require.ErrorIs(t, RefuseExample(newIdentities(t, 1), report), ErrExampleKey)
	assert.Contains(t, next.Of(RefuseExample(nil, report)).String(), "secrets:init")
	assert.NoError(t, RefuseExample(newIdentities(t, 1), &Report{}))
}

func FuzzIdentities(f *testing.F) {
	f.Add([]byte("# a\nAGE-SECRET-KEY-1C5H0KSYYG72SRF3VQF664SP8RW6DFSUMHNYM7J7SHWTDLN443KYQUUYN8G\n"))
	f.Add([]byte("AGE-SECRET-KEY-PQ-1QQQQ"))
	f.Add([]byte("AGE-PLUGIN-X-1QQQQ\r\n\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ids, err := ParseIdentities(data)
		if err == nil {
			require.NotZero(t, ids.Len())
			again, err := ParseIdentities(ids.KeyFile())
			require.NoError(t, err)
			require.Equal(t, ids.Hashes(), again.Hashes())
		}
		_, _ = decryptScrypt(bytes.NewReader(data), "x")
	})
}
