package config

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pins are files before and after pinning keyA for host "web".
var pins = map[string]struct{ before, after string }{
	"added behind the last key": {
		"# mine\nhosts:\n  web: # the first\n    # where\n    address: w.example # here\n\n  # next\n  db:\n    port: 1\n",
		"# mine\nhosts:\n  web: # the first\n    # where\n    address: w.example # here\n    hostKey: KEY\n\n  # next\n  db:\n    port: 1\n"},
	"replaced, comment kept": {
		"hosts:\n  web:\n    hostKey: " + keyB + " old # pinned by hand\n    port: 1\n",
		"hosts:\n  web:\n    hostKey: KEY # pinned by hand\n    port: 1\n"},
	"replaced in quotes": {
		"hosts:\n  web: {hostKey: \"" + keyB + "\", port: 1}\n",
		"hosts:\n  web: {hostKey: KEY, port: 1}\n"},
	"a list at the end": {
		"hosts:\n  web:\n    tags:\n    - a\n    - b\n    # more?\n  db:\n",
		"hosts:\n  web:\n    tags:\n    - a\n    - b\n    hostKey: KEY\n    # more?\n  db:\n"},
	"a folded value at the end": {
		"hosts:\n    web:\n        port: 1\n        identity: >-\n            ~/key\n\n    db:\n",
		"hosts:\n    web:\n        port: 1\n        identity: >-\n            ~/key\n        hostKey: KEY\n\n    db:\n"},
	"no fields yet":        {"hosts:\n  web:\n  db:\n", "hosts:\n  web:\n    hostKey: KEY\n  db:\n"},
	"no fields, a comment": {"hosts:\n    web: # soon\n", "hosts:\n    web: # soon\n        hostKey: KEY\n"},
	"no line end":          {"hosts:\n  web:\n    port: 1", "hosts:\n  web:\n    port: 1\n    hostKey: KEY\n"},
	"Windows line ends":    {"hosts:\r\n  web:\r\n    port: 1\r\n", "hosts:\r\n  web:\r\n    port: 1\r\n    hostKey: KEY\r\n"},
	"flow":                 {"hosts: {web: {port: 1}, db: {}}\n", "hosts: {web: {hostKey: KEY, port: 1}, db: {}}\n"},
	"flow, empty":          {"hosts:\n  web: { }\n", "hosts:\n  web: {hostKey: KEY}\n"},
	"flow with an anchor":  {"hosts:\n  web: &w {port: 1}\n  db: {port: 2}\n", "hosts:\n  web: &w {hostKey: KEY, port: 1}\n  db: {port: 2}\n"},
	"letters of several bytes": {"\ufeffhosts:\n  web: {identity: é, hostKey: " + keyB + "} # é\n",
		"\ufeffhosts:\n  web: {identity: é, hostKey: KEY} # é\n"},
	"fields of a merge key": {"hosts:\n  db: &d\n    user: a\n  web:\n    <<: *d\n", "hosts:\n  db: &d\n    user: a\n  web:\n    <<: *d\n    hostKey: KEY\n"},
	"key of a merge key overridden": {"hosts:\n  db: &d\n    hostKey: " + keyB + "\n  web:\n    <<: *d\n",
		"hosts:\n  db: &d\n    hostKey: " + keyB + "\n  web:\n    <<: *d\n    hostKey: KEY\n"},
}

func TestPinHostKeyEditsOneLine(t *testing.T) {
	t.Parallel()
	for name, tc := range pins {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, t.TempDir(), FileName, tc.before)
			require.NoError(t, PinHostKey(path, "web", keyA+" root@web"))
			assert.Equal(t, strings.ReplaceAll(tc.after, "KEY", keyA), read(t, path))
			cfg, err := Load(filepath.Dir(path))
			require.NoError(t, err)
			assert.Equal(t, keyA, cfg.Lookup("web").HostKey)
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestPinHostKeyRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, key, want, hint string }{
		"not listed":    {"hosts:\n  db:\n", keyA, "the host is not listed there", "under hosts:"},
		"no hosts":      {"", keyA, "the host is not listed there", "under hosts:"},
		"not a key":     {"hosts:\n  web:\n", "SHA256:x", "is not a public key", "hostKey: SHA256:x"},
		"broken file":   {"hosts:\n  web:\n  web:\n", keyA, "duplicate", "by hand"},
		"an alias":      {"hosts:\n  db: &d {user: a}\n  web: *d\n", keyA, "not safe to edit", "hostKey: " + keyA},
		"explicit null": {"hosts:\n  web: ~\n", keyA, "not safe to edit", "hostKey: " + keyA},
		"from a merge":  {"hosts:\n  <<: {web: {port: 1}}\n", keyA, "not safe to edit", "hostKey: " + keyA},
		"key is shared": {"hosts:\n  web: {hostKey: &k " + keyB + "}\n  db: {hostKey: *k}\n", keyA, "not safe to edit", "hostKey: " + keyA},
		"shared fields": {"hosts:\n  web: &w {port: 1}\n  db: {<<: *w, port: 2}\n", keyA, "not safe to edit", "hostKey: " + keyA},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, t.TempDir(), FileName, tc.text)
			err := PinHostKey(path, "web", tc.key)
			require.ErrorContains(t, err, tc.want)
			assert.Contains(t, hint(t, err), tc.hint)
			assert.Equal(t, tc.text, read(t, path), "the file is as it was")
		})
	}
	err := PinHostKey(filepath.Join(t.TempDir(), FileName), "web", keyA)
	assert.ErrorIs(t, err, ErrNotListed, "no file at all")
}

func TestPinHostKeyKeepsModeAndFollowsSymlinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real := write(t, dir, "elsewhere/hosts.yaml", "hosts:\n  web:\n")
	require.NoError(t, os.Chmod(real, 0o640))
	link := filepath.Join(dir, FileName)
	require.NoError(t, os.Symlink("elsewhere/hosts.yaml", link))
	require.NoError(t, PinHostKey(link, "web", keyA))
	info, err := os.Lstat(real)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())
	assert.Contains(t, read(t, real), keyA)
	target, err := os.Readlink(link)
	require.NoError(t, err, "still a symlink")
	assert.Equal(t, "elsewhere/hosts.yaml", target)
	entries, err := os.ReadDir(filepath.Dir(real))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left beside the file")
}

func TestPinHostKeyWritesNothingWhenItIsThere(t *testing.T) {
	t.Parallel()
	path := write(t, t.TempDir(), FileName, "hosts:\n  web: {hostKey: '"+keyA+" me'}\n")
	before, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, PinHostKey(path, "web", keyA))
	after, err := os.Stat(path)
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after))
}

// Keeps away: two bootstraps at once, of which one loses its key.
func TestPinHostKeyAtOnce(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e", "f"}
	path := write(t, t.TempDir(), FileName, "hosts:\n  a:\n  b:\n  c:\n  d:\n  e:\n  f:\n")
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() { assert.NoError(t, PinHostKey(path, name, keyA)) })
	}
	wg.Wait()
	cfg, err := Load(filepath.Dir(path))
	require.NoError(t, err)
	for _, h := range cfg.Hosts {
		assert.Equal(t, keyA, h.HostKey, h.Name)
	}
}
