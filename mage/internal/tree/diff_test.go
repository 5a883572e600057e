package tree

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listOf makes a manifest of "TYPE CONTENT PATH" triples.
func listOf(t *testing.T, triples ...[3]string) Manifest {
	t.Helper()
	var entries []Entry
	for _, x := range triples {
		entries = append(entries, Entry{Type: x[0][0], Hash: hash([]byte(x[1])), Path: x[2], Size: int64(len(x[1]))})
	}
	m, path, reason := newManifest(entries)
	require.Empty(t, reason, path)
	return m
}

func TestDiff(t *testing.T) {
	t.Parallel()
	old := listOf(t,
		[3]string{"f", "1", "a"}, [3]string{"f", "1", "content"}, [3]string{"f", "1", "folder/in"},
		[3]string{"l", "1", "link"}, [3]string{"f", "1", "mode"}, [3]string{"f", "1", "moved"},
		[3]string{"x", "1", "plain"}, [3]string{"f", "1", "script"}, [3]string{"f", "1", "tolink"},
	)
	new := listOf(t,
		[3]string{"f", "1", "a"}, [3]string{"f", "22", "content"}, [3]string{"f", "1", "folder"},
		[3]string{"f", "1", "link"}, [3]string{"x", "1", "mode"}, [3]string{"f", "1", "moved2"},
		[3]string{"f", "2", "plain"}, [3]string{"x", "2", "script"}, [3]string{"l", "2", "tolink"},
		[3]string{"x", "3", "zrun"},
	)
	d := Diff(old, new)
	assert.False(t, d.Empty())
	assert.Equal(t, `~ content
+ folder
- folder/in
~ link (no longer a link)
~ mode (now executable, content unchanged)
- moved
+ moved2
~ plain (no longer executable)
~ script (now executable)
~ tolink (now a link)
+ zrun (executable)
`, d.String())
	assert.Equal(t, "3 added, 6 changed, 2 removed", d.Summary())
	assert.EqualValues(t, 10, d.Size())
	assert.Equal(t, []string{"added", "folder", ""}, d.Rows()[1])
	for i, e := range d.Upload() {
		got, _ := new.Lookup(e.Path)
		assert.Equal(t, got, e)
		assert.True(t, i == 0 || d.Upload()[i-1].Path < e.Path)
	}
}

func TestDiffOfTheSame(t *testing.T) {
	t.Parallel()
	m := listOf(t, [3]string{"f", "1", "a"}, [3]string{"f", "1", "b"})
	d := Diff(m, m)
	assert.True(t, d.Empty())
	assert.Empty(t, d.String())
	assert.Equal(t, "no difference", d.Summary())
	assert.Len(t, Diff(Manifest{}, m).Added, 2)
	assert.Len(t, Diff(m, Manifest{}).Removed, 2)
}

// A Difference that somebody put together by hand has no old states.
func TestDifferenceWithoutOldStates(t *testing.T) {
	t.Parallel()
	d := Difference{Changed: []Entry{{Type: TypeFile, Path: "a"}}}
	assert.Equal(t, "~ a\n", d.String())
}
