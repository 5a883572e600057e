package secrets

import (
	"testing"

	"github.com/getsops/sops/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sampleBranch() sops.TreeBranch {
	return sops.TreeBranch{
		{Key: sops.Comment{Value: " top"}},
		{Key: "text", Value: "t"},
		{Key: "a.b", Value: "dotted"},
		{Key: `back\slash`, Value: "b"},
		{Key: "map", Value: sops.TreeBranch{{Key: "inner", Value: 5}, {Key: "none", Value: nil}}},
		{Key: "list", Value: []any{sops.Comment{Value: "c"}, "zero", sops.TreeBranch{{Key: "k", Value: "v"}}}},
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]any{
		"text":                      "t",
		`a\.b`:                      "dotted",
		`back\\slash`:               "b",
		"map.inner":                 5,
		"list.0":                    "zero",
		"list.1.k":                  "v",
		"map.none":                  nil,
		`te\xt`:                     "t",
		"text.deeper":               ErrUnknownName,
		"text.0":                    ErrUnknownName,
		"list.-1":                   ErrUnknownName,
		"list.2":                    ErrUnknownName,
		"list.first":                ErrUnknownName,
		"list.0.x":                  ErrUnknownName,
		"map.missing":               ErrUnknownName,
		"map.none.x":                ErrUnknownName,
		"missing":                   ErrUnknownName,
		"list.99999999999999999999": ErrUnknownName,
	} {
		path, err := parseName(name)
		require.NoError(t, err, name)
		got, err := lookup(sampleBranch(), path)
		if wanted, ok := want.(error); ok {
			assert.ErrorIs(t, err, wanted, name)
			continue
		}
		assert.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"text":        "",
		"new":         "",
		"new.deep.er": "",
		"map.inner":   "",
		"map.none.x":  "",
		"list.0":      "",
		"list.1.k":    "",
		"list.1.new":  "",
		"map":         "is a map with 2 keys",
		"list":        "is a list of 2 elements",
		"list.1":      "is a map with 1 keys",
		"list.2":      "no secret of that name",
		"list.-1":     "no secret of that name",
		"list.x.y":    "no secret of that name",
		"text.x":      "is a single value",
		"map.inner.x": "is a single value",
	} {
		path, err := parseName(name)
		require.NoError(t, err, name)
		branch, err := put(sampleBranch(), path, "value")
		if want != "" {
			assert.ErrorContains(t, err, want, name)
			continue
		}
		require.NoError(t, err, name)
		got, err := lookup(branch, path)
		assert.NoError(t, err, name)
		assert.Equal(t, "value", got, name)
	}
}

func TestNamesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "a.", ".a", "a..b", `a\`, "sops", "sops.mac"} {
		_, err := parseName(name)
		assert.Error(t, err, name)
	}
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{"a.b", `a\.b`, "list.-1", `\\`, "..", "text.0.x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		path, err := parseName(name)
		if err != nil {
			return
		}
		again, err := parseName(formatName(path))
		require.NoError(t, err)
		require.Equal(t, path, again)
		_, _ = lookup(sampleBranch(), path)
		if branch, err := put(sampleBranch(), path, "v"); err == nil {
			got, err := lookup(branch, path)
			require.NoError(t, err)
			require.Equal(t, "v", got)
		}
	})
}
