package secrets

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"filippo.io/age"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	"github.com/stretchr/testify/require"
)

// newIdentities makes n keys.
func newIdentities(t testing.TB, n int) *Identities {
	t.Helper()
	var lines string
	for range n {
		key, err := age.GenerateX25519Identity()
		require.NoError(t, err)
		lines += key.String() + "\n"
	}
	ids, err := ParseIdentities([]byte(lines))
	require.NoError(t, err)
	return ids
}

// newProject makes a project whose secrets.yaml holds the given YAML, encrypted
// to ids by this package.
func newProject(t testing.TB, ids *Identities, plain string) Project {
	t.Helper()
	project := emptyProject(t, ids, "")
	data := encryptYAML(t, project, plain)
	require.NoError(t, os.WriteFile(project.SecretsFile(), data, 0o644))
	return project
}

// emptyProject has a key and rules, and no secrets.yaml.
func emptyProject(t testing.TB, ids *Identities, extraRule string) Project {
	t.Helper()
	project := Project{Dir: t.TempDir()}
	require.NoError(t, os.MkdirAll(project.SecretsDir(), 0o755))
	writeKey(t, project.KeyFile(), ids)
	text := "creation_rules:\n  - path_regex: ^secrets/secrets\\.yaml$\n    age:\n"
	for _, recipient := range ids.Recipients() {
		text += "      - " + recipient + "\n"
	}
	require.NoError(t, os.WriteFile(project.RulesFile(), []byte(text+extraRule), 0o644))
	return project
}

func writeKey(t testing.TB, path string, ids *Identities) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, ids.KeyFile(), 0o600))
}

func encryptYAML(t testing.TB, project Project, plain string) []byte {
	t.Helper()
	rules, err := loadRules(project)
	require.NoError(t, err)
	f, err := newFile(rules, project.name())
	require.NoError(t, err)
	f.tree.Branches, err = f.store.LoadPlainFile([]byte(plain))
	require.NoError(t, err)
	data, err := f.seal()
	require.NoError(t, err)
	return data
}

func mustOpen(t testing.TB, data []byte, ids *Identities) *file {
	t.Helper()
	f, err := open(data, ids, yamlStore())
	require.NoError(t, err)
	return f
}

func readAll(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// exampleYAML has every kind of value that sops knows.
const exampleYAML = `# what the gateway asks for
gateway-token: 0f1e2d3c
ssh-public-key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdpcwvIXLk2dVmwnTWV5fhHkrSRGWEUqqMFV7lZfRZl me
database:
    password: hunter 2 # changed in May
    port: 5432
hosts:
    - alpha
    # the second
    - beta
empty: ""
nothing: null
flag: true
ratio: 0.5
since: 2024-05-06T07:08:09Z
note: |
    two
    lines
`

// confirm notes recipients as confirmed on this machine.
func confirm(t testing.TB, project Project, recipients ...string) {
	t.Helper()
	require.NoError(t, trust.Change(t.Context(), project.Dir, func(r *trust.Record) { r.Recipients = append(r.Recipients, recipients...) }))
}

func writeText(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// countdown is a context that is cancelled after it was asked so many times.
type countdown struct {
	context.Context
	left atomic.Int64
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return c.Context.Err()
}

// stopAfter interrupts work at the n-th place where it can be interrupted.
func stopAfter(t testing.TB, n int) context.Context {
	c := &countdown{Context: t.Context()}
	c.left.Store(int64(n))
	return c
}

func yamlStore() sops.Store { return storeFor(defaultFile, config.NewStoresConfig()) }

// declare gives secrets of secrets.yaml.
func declare(names ...string) []Declared {
	var list []Declared
	for _, name := range names {
		list = append(list, Declared{Name: name, Key: name, File: defaultFile, Format: "yaml"})
	}
	return list
}
