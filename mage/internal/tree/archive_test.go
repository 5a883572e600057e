package tree

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unpack lets the tar program, which the server uses, unpack the archive.
func unpack(t *testing.T, a *Archive) (dir string) {
	t.Helper()
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("tar is not installed")
	}
	data, err := a.Bytes()
	require.NoError(t, err)
	dir = t.TempDir()
	cmd := exec.Command("tar", "-xf", "-", "-C", dir)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// members lists an archive as "TYPE MODE NAME -> LINK", and makes sure of what
// holds for every member.
func members(t *testing.T, data []byte) (list []string, content map[string]string) {
	t.Helper()
	content = make(map[string]string)
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list, content
		}
		require.NoError(t, err)
		assert.Zero(t, h.Uid, h.Name)
		assert.Zero(t, h.Gid, h.Name)
		assert.Empty(t, h.Uname+h.Gname, h.Name)
		assert.Zero(t, h.ModTime.Unix(), h.Name)
		text := h.FileInfo().Mode().String() + " " + h.Name
		if h.Linkname != "" {
			text += " -> " + h.Linkname
		}
		list = append(list, text)
		body, err := io.ReadAll(r)
		require.NoError(t, err)
		content[h.Name] = string(body)
	}
}

func TestWriteArchiveHoldsTheDifference(t *testing.T) {
	t.Parallel()
	old := collect(t, project(t, map[string]string{"nix/same": "s", "nix/changed": "old", "nix/mode": "#!x", "nix/gone": "g"}))
	dir := project(t, map[string]string{
		"nix/same": "s", "nix/changed": "new", "nix/mode": "#!x", "nix/a/b/run": "#!r", "nix/a/link": "-> b/run",
	})
	require.NoError(t, os.Chmod(filepath.Join(dir, "nix/mode"), 0o600))
	tr := collect(t, dir)
	d := Diff(old.Manifest(), tr.Manifest())

	var b, again bytes.Buffer
	require.NoError(t, tr.WriteArchive(&b, d))
	list, content := members(t, b.Bytes())
	assert.Equal(t, []string{
		"drwxr-xr-x tree/",
		"drwxr-xr-x tree/a/",
		"drwxr-xr-x tree/a/b/",
		"-rwxr-xr-x tree/a/b/run",
		"Lrwxrwxrwx tree/a/link -> b/run",
		"-rw-r--r-- tree/changed",
		"-rw-r--r-- tree/mode",
	}, list)
	assert.Equal(t, "new", content["tree/changed"])
	require.NoError(t, tr.WriteArchive(&again, d))
	assert.Equal(t, b.Bytes(), again.Bytes())
}

func TestArchiveTakesFurtherMembers(t *testing.T) {
	t.Parallel()
	tr := collect(t, project(t, nil))
	a := NewArchive()
	a.AddTree("run/tree", tr, nil)
	a.Add("run/supervisor", 0o700, []byte("#!/bin/sh\n"))
	a.Add(strings.Repeat("long/", 60)+"ü", 0o600, []byte("x"))
	dir := unpack(t, a)
	info, err := os.Stat(filepath.Join(dir, "run/supervisor"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode())
	assert.DirExists(t, filepath.Join(dir, "run/tree"))
	assert.FileExists(t, filepath.Join(dir, strings.Repeat("long/", 60), "ü"))
}

func TestArchiveRefuses(t *testing.T) {
	t.Parallel()
	tr := collect(t, project(t, nil))
	flake, _ := tr.Manifest().Lookup("flake.nix")
	flake.Hash = hash([]byte("another"))
	for name, c := range map[string]struct {
		add    func(a *Archive)
		reason string
	}{
		"twice":         {func(a *Archive) { a.Add("a", 0o644, nil); a.Add("a", 0o644, nil) }, "twice"},
		"over a folder": {func(a *Archive) { a.Add("a/b", 0o644, nil); a.Add("a", 0o644, nil) }, "twice"},
		"below a file":  {func(a *Archive) { a.Add("a", 0o644, nil); a.Add("a/b/c", 0o644, nil) }, `"a" is not a folder`},
		"outside":       {func(a *Archive) { a.Add("../a", 0o644, nil) }, "not a clean path"},
		"not in tree":   {func(a *Archive) { a.AddTree("tree", tr, []Entry{{Type: TypeFile, Path: "nope"}}) }, "does not hold"},
		"other content": {func(a *Archive) { a.AddTree("tree", tr, []Entry{flake}) }, "does not hold"},
		"after its end": {func(a *Archive) { _, _ = a.Bytes(); a.Add("a", 0o644, nil) }, "write after close"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := NewArchive()
			c.add(a)
			_, err := a.Bytes()
			assert.ErrorContains(t, err, c.reason)
		})
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestWriteArchivePassesWriteErrorsOn(t *testing.T) {
	t.Parallel()
	err := collect(t, project(t, nil)).WriteArchive(fullDisk{}, Difference{})
	assert.ErrorIs(t, err, os.ErrClosed)
}
