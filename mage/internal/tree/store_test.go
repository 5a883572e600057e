package tree

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The values are what Nix 2.8 prints of this very tree: a wrong one would make every
// secret of a host "lie outside the tree".
func TestStorePathIsThatOfNix(t *testing.T) {
	t.Parallel()
	tree := &Tree{content: map[string][]byte{
		"flake.nix":      []byte("{ outputs = {self}: { p = toString self; s = \"${./secrets/s.yaml}\"; q = toString ./a; }; }\n"),
		"a/b":            []byte("hi\n"),
		"a-b":            []byte("x\n"),
		"secrets/s.yaml": []byte("1\n"),
	}}
	entries := []Entry{
		{Type: TypeFile, Path: "flake.nix"}, {Type: TypeFile, Path: "a/b"}, {Type: TypeExecutable, Path: "a-b"},
		{Type: TypeFile, Path: "secrets/s.yaml"}, {Type: TypeLink, Path: "l", Target: "a/b"},
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	tree.manifest.entries = entries

	assert.Equal(t, "/nix/store/dpsn0a3ahi83s14ia8dg2hfj82h5x0xw-source", tree.StorePath())

	file, ok := tree.StoredFile("/nix/store/laklj4n51xnnx60a63mh2vmibpq7hx7m-s.yaml")
	require.True(t, ok)
	assert.Equal(t, "secrets/s.yaml", file)
	for _, other := range []string{
		"", "/nix/store/", "/etc/s.yaml", "/nix/store/aaklj4n51xnnx60a63mh2vmibpq7hx7m-s.yaml",
		"/nix/store/laklj4n51xnnx60a63mh2vmibpq7hx7m-t.yaml", "/nix/store/laklj4n51xnnx60a63mh2vmibpq7hx7m-source/s.yaml",
	} {
		_, ok := tree.StoredFile(other)
		assert.False(t, ok, other)
	}
}
