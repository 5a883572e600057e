package secrets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// smallDisk is a folder with room for very little.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		missing(t, "mounting a small tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func fillUp(t *testing.T, dir string) {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	defer file.Close()
	for block := make([]byte, 512); err == nil; {
		_, err = file.Write(block)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
}

// TestFullDisk: sops' program truncates the file there.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	source := newProject(t, ids, exampleYAML)
	project := Project{Dir: smallDisk(t)}
	require.NoError(t, os.CopyFS(project.Dir, os.DirFS(source.Dir)))
	require.NoError(t, os.Chmod(project.KeyFile(), 0o600))
	before := readAll(t, project.SecretsFile())
	fillUp(t, project.Dir)

	_, err := Set(t.Context(), project.Dir, ids, "gateway-token", strings.Repeat("x", 10000))
	require.ErrorIs(t, err, unix.ENOSPC)
	assert.Contains(t, next.Of(err).String(), "as it was")
	assert.Equal(t, before, readAll(t, project.SecretsFile()))

	temporary := t.TempDir()
	t.Run("edit, and make room", func(t *testing.T) {
		console := &fakeConsole{answers: []string{"", ""}}
		options := EditOptions{Console: console, bases: []string{temporary}, Stdin: strings.NewReader(""), Stdout: os.Stderr, Stderr: os.Stderr,
			Getenv: func(string) string { return `sed -i.bak "s/hunter 2/hunter 3/"` }}
		options.at = func(phase string) {
			if phase == "asking" {
				require.NoError(t, os.Remove(filepath.Join(project.Dir, "filler")))
			}
		}
		changed, err := Edit(t.Context(), project.Dir, ids, options)
		require.NoError(t, err)
		assert.True(t, changed)
	})
	_, err = Verify(t.Context(), project.Dir, ids)
	require.NoError(t, err)
	left, err := os.ReadDir(project.SecretsDir())
	require.NoError(t, err)
	assert.Len(t, left, 2, "no part of a file is left")
}

func TestFullDiskForThePlaintext(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	before := readAll(t, project.SecretsFile())
	base := smallDisk(t)
	fillUp(t, base)
	_, err := Edit(t.Context(), project.Dir, ids, EditOptions{Console: &fakeConsole{}, bases: []string{base}, Getenv: func(string) string { return "true" }})
	require.ErrorIs(t, err, unix.ENOSPC)
	assert.Equal(t, before, readAll(t, project.SecretsFile()))
	found, err := filepath.Glob(filepath.Join(base, plainPrefix+"*"))
	require.NoError(t, err)
	assert.Empty(t, found)
}

func TestWherePlaintextGoes(t *testing.T) {
	t.Parallel()
	memory := smallDisk(t)
	bases := plainBases(func(string) string { return memory })
	assert.Equal(t, memory, bases[0], "memory before disk")
	assert.Equal(t, os.TempDir(), bases[len(bases)-1])
	bases = plainBases(func(string) string { return "relative" })
	assert.NotContains(t, bases, "relative")
}
