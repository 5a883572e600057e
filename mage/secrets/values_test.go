package secrets

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSetThenGet(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	for name, value := range map[string]string{
		"gateway-token":       "new value",
		"database.password":   "two\nlines\n\n",
		"database.port":       "a text now",
		"hosts.1":             "gamma",
		"fresh":               "ünïcödé 🔑",
		"smtp.login.name":     "deep",
		`dotted\.key`:         "x",
		"looks-like-a-number": "007",
		"looks-like-true":     "true",
		"spaces":              "  around  ",
	} {
		changed, err := Set(t.Context(), project.Dir, ids, name, value)
		require.NoError(t, err, name)
		assert.True(t, changed, name)
		got, err := Get(project.Dir, ids, name)
		require.NoError(t, err, name)
		assert.Equal(t, value, got, name)
	}
	plain, err := mustOpen(t, readAll(t, project.SecretsFile()), ids).plain()
	require.NoError(t, err)
	assert.Contains(t, string(plain), "# what the gateway asks for\ngateway-token: new value\n")
}

func TestGetOfOtherKinds(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	for name, want := range map[string]string{
		"database.port": "5432", "flag": "true", "ratio": "0.5", "since": "2024-05-06T07:08:09Z",
		"note": "two\nlines\n", "empty": "", "nothing": "", "hosts.1": "beta",
	} {
		got, err := Get(project.Dir, ids, name)
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
	_, err := Get(project.Dir, ids, "database")
	assert.ErrorContains(t, err, "database.password, database.port")
	_, err = Get(project.Dir, ids, "gateway-token.x")
	assert.ErrorIs(t, err, ErrUnknownName)
	_, err = Get(project.Dir, ids, "hosts.-1")
	assert.ErrorIs(t, err, ErrUnknownName)
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	before := readAll(t, project.SecretsFile())
	for name, c := range map[string]struct{ name, value, want string }{
		"a map":          {"database", "x", "setting it would lose them"},
		"a list":         {"hosts", "x", "setting it would lose them"},
		"below a text":   {"gateway-token.deeper", "x", "is a single value"},
		"a missing item": {"hosts.7", "x", "the list has 2 elements"},
		"nothing":        {"gateway-token", "", "is empty"},
		"no text":        {"gateway-token", "\xff", "is not text"},
		"too much":       {"gateway-token", strings.Repeat("x", valueLimit+1), "the limit is"},
		"metadata":       {"sops.mac", "x", "belongs to sops"},
		"plain text":     {"x_unencrypted", "hunter2", "would be stored in plain text"},
	} {
		_, err := Set(t.Context(), project.Dir, ids, c.name, c.value)
		require.ErrorContains(t, err, c.want, name)
		assert.NotEmpty(t, next.Of(err).String(), name)
	}
	assert.Equal(t, before, readAll(t, project.SecretsFile()))
}

func TestSetOfTheSameWritesNothing(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	before := readAll(t, project.SecretsFile())
	changed, err := Set(t.Context(), project.Dir, ids, "gateway-token", "0f1e2d3c")
	require.NoError(t, err)
	assert.False(t, changed)
	assert.Equal(t, before, readAll(t, project.SecretsFile()))
}

func TestNoSecretsGoIntoTheExample(t *testing.T) {
	t.Parallel()
	root := Project{Dir: filepath.Join("..", "..")}
	example, err := Sources{Getenv: noEnvironment}.fromFile(t.Context(), root.ExampleKeyFile(), false)
	require.NoError(t, err)
	before := readAll(t, root.SecretsFile())
	_, err = Set(t.Context(), root.Dir, example, "gateway-token", "x")
	require.ErrorIs(t, err, ErrExampleKey)
	assert.Equal(t, before, readAll(t, root.SecretsFile()))
}

// TestRulesThatDoNotCompile keeps away plain text: sops ignores the error, and a
// pattern that matches nothing encrypts nothing.
func TestRulesThatDoNotCompile(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	rule := string(readAll(t, project.RulesFile()))
	for _, extra := range []string{"    encrypted_regex: '('\n", "    unencrypted_regex: '['\n", "stores:\n  yaml:\n    indent: -1\n"} {
		writeText(t, project.RulesFile(), rule+extra)
		_, err := Set(t.Context(), project.Dir, ids, "a", "x")
		assert.Error(t, err, extra)
	}
}

func TestRulesAreObeyed(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := emptyProject(t, ids, "    encrypted_regex: ^secret\nstores:\n  yaml:\n    indent: 2\n")
	require.NoError(t, os.WriteFile(project.SecretsFile(), encryptYAML(t, project, "open:\n  name: visible\nsecret:\n  name: hidden\n"), 0o644))
	text := string(readAll(t, project.SecretsFile()))
	assert.Contains(t, text, "open:\n  name: visible\n")
	assert.NotContains(t, text, "hidden")
	_, err := Set(t.Context(), project.Dir, ids, "secret.more", "x")
	require.NoError(t, err)
	_, err = Set(t.Context(), project.Dir, ids, "open.more", "x")
	require.ErrorContains(t, err, "plain text")
}

func TestModeAndLinkAreKept(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	real := filepath.Join(t.TempDir(), "real.yaml")
	require.NoError(t, os.Rename(project.SecretsFile(), real))
	require.NoError(t, os.Chmod(real, 0o640))
	require.NoError(t, os.Symlink(real, project.SecretsFile()))
	_, err := Set(t.Context(), project.Dir, ids, "gateway-token", "new")
	require.NoError(t, err)
	info, err := os.Lstat(project.SecretsFile())
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeSymlink)
	info, err = os.Stat(real)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm())
}

func TestTrimInput(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]string{
		"a\n": "a", "a\r\n": "a", "a": "a", "a\n\n": "a\n\n", "a\nb\n": "a\nb\n", "a\nb": "a\nb", "": "", "\n": "", " a \n": " a ",
	} {
		assert.Equal(t, want, TrimInput(input), "%q", input)
	}
}

func TestReplaceFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, replaceFile(t.Context(), path, nil, []byte("one"), 0o600))
	assert.ErrorIs(t, replaceFile(t.Context(), path, nil, []byte("two"), 0o600), ErrChanged)
	assert.ErrorIs(t, replaceFile(t.Context(), path, []byte("other"), []byte("two"), 0o600), ErrChanged)
	stale := filepath.Join(filepath.Dir(path), ".file1234567890")
	writeText(t, stale, "left by a kill")
	require.NoError(t, replaceFile(t.Context(), path, []byte("one"), []byte("two"), 0o600))
	assert.Equal(t, "two", string(readAll(t, path)))
	assert.NoFileExists(t, stale)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, replaceFile(cancelled, path, []byte("two"), []byte("three"), 0o600), context.Canceled)
	assert.Equal(t, "two", string(readAll(t, path)))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left beside it")
}

func TestUnwritableFolder(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root can write everywhere")
	}
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	require.NoError(t, os.Chmod(project.SecretsDir(), 0o500))
	t.Cleanup(func() { _ = os.Chmod(project.SecretsDir(), 0o700) })
	_, err := Set(t.Context(), project.Dir, ids, "gateway-token", "new")
	assert.Error(t, err)
	_, err = Edit(t.Context(), project.Dir, ids, EditOptions{Console: &fakeConsole{}})
	assert.ErrorContains(t, err, "cannot be written")
}

func TestAMegabyte(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	value := strings.Repeat("0123456789abcdef", 1<<16)
	_, err := Set(t.Context(), project.Dir, ids, "big", value)
	require.NoError(t, err)
	got, err := Get(project.Dir, ids, "big")
	require.NoError(t, err)
	assert.Equal(t, value, got)
}

func TestAHugeFileIsNotRead(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	require.NoError(t, os.Truncate(project.SecretsFile(), 1<<40))
	_, err := Get(project.Dir, ids, "gateway-token")
	assert.ErrorContains(t, err, "the limit is")
}
