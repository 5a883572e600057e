package facts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKeptAnswersForTheTreeThatWasEvaluated(t *testing.T) {
	t.Parallel()
	dir, when := t.TempDir(), time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	web, db := Host{Output: "web", SSHPorts: []int{2222}}, Host{Output: "db", SSHPorts: []int{}}
	require.NoError(t, Keep(dir, "digest-1", &Answer{Outputs: []string{"db", "web"}, Hosts: map[string]Host{"web": web}}, false, when))

	k := LoadKept(dir)
	h, ok := k.Host("web", "digest-1")
	require.True(t, ok)
	assert.Equal(t, web, h)
	_, ok = k.Host("db", "digest-1")
	assert.False(t, ok, "it was not evaluated")
	_, ok = k.Host("web", "digest-2")
	assert.False(t, ok, "the tree is another one")
	_, ok = k.Host("web", "")
	assert.False(t, ok)
	outputs, ok := k.Outputs("digest-1")
	assert.True(t, ok)
	assert.Equal(t, []string{"db", "web"}, outputs)

	_, ok = k.Answer("digest-1", Question{})
	assert.False(t, ok, "not all outputs are kept")
	a, ok := k.Answer("digest-1", Question{Outputs: []string{"web", "gone"}})
	require.True(t, ok)
	_, err := a.Host("gone")
	assert.ErrorAs(t, err, new(*NoOutputError), "that there is none is known, too")
	_, ok = k.Answer("digest-1", Question{Outputs: []string{"web"}, Build: true})
	assert.False(t, ok, "the whole system was not evaluated")

	// Another output of another tree: what is known of the first stays, as of then.
	require.NoError(t, Keep(dir, "digest-2", &Answer{Outputs: []string{"db", "web"}, Hosts: map[string]Host{"db": db}}, true, when.Add(time.Hour)))
	k = LoadKept(dir)
	h, at, ok := k.AsOf("web")
	require.True(t, ok)
	assert.Equal(t, web, h)
	assert.Equal(t, when, at)
	_, ok = k.Answer("digest-2", Question{Outputs: []string{"db"}, Build: true})
	assert.True(t, ok)
	// Asking for less does not forget that it was built.
	require.NoError(t, Keep(dir, "digest-2", &Answer{Outputs: []string{"db", "web"}, Hosts: map[string]Host{"db": db}}, false, when))
	_, ok = LoadKept(dir).Answer("digest-2", Question{Outputs: []string{"db"}, Build: true})
	assert.True(t, ok)
	assert.Equal(t, []string{"db", "web"}, LoadKept(dir).Known())

	// What is gone, or does not evaluate any more, is forgotten.
	require.NoError(t, Keep(dir, "digest-3", &Answer{Outputs: []string{"db"}, Failed: map[string]error{"db": errors.New("broken")}}, true, when))
	assert.Empty(t, LoadKept(dir).Known())

	info, err := os.Stat(keptFile(dir))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// Another version of facts.nix may answer something else about the same tree.
func TestKeptOfAnotherFunctionIsOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, Keep(dir, "d", &Answer{Outputs: []string{"web"}, Hosts: map[string]Host{"web": {}}}, true, time.Now()))
	text, err := os.ReadFile(keptFile(dir))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(keptFile(dir), []byte(strings.Replace(string(text), asked(), "0123", 1)), 0o600))
	_, ok := LoadKept(dir).Host("web", "d")
	assert.False(t, ok)
	_, _, ok = LoadKept(dir).AsOf("web")
	assert.True(t, ok)
}

func TestKeptThatIsNotToBeTrusted(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "facts", "a list": "[]", "another version": `{"version":9,"hosts":{"web":{"host":{"version":1}}}}`,
		"a lie": `{"version":1,"outputs":{"digest":"d","names":["web"]},"hosts":{"web":{"digest":"d","host":{"version":1,"sshPorts":[99999]}}}}`,
		"huge":  `{"version":1,"x":"` + strings.Repeat("x", keptSize) + `"}`,
	} {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Dir(keptFile(dir)), 0o700))
		require.NoError(t, os.WriteFile(keptFile(dir), []byte(text), 0o600))
		assert.Empty(t, LoadKept(dir).Known(), name)
	}
	assert.Empty(t, LoadKept(t.TempDir()).Known())
}
