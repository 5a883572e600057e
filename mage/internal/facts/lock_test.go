package facts

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const smallLock = `{"version": 7, "root": "root", "nodes": {
	"root": {"inputs": {"nixpkgs": "nixpkgs_2", "other": ["tool", "nixpkgs"], "tool": "tool"}},
	"nixpkgs_2": {"locked": {"type": "github", "owner": "NixOS", "repo": "nixpkgs", "rev": "abc", "narHash": "sha256-x", "lastModified": 1787204541},
		"original": {"type": "github", "owner": "NixOS", "repo": "nixpkgs", "ref": "nixos-26.05"}},
	"tool": {"inputs": {"nixpkgs": ["nixpkgs"]}, "locked": {"type": "path", "lastModified": 1}, "original": {}}}}`

func TestReadLock(t *testing.T) {
	t.Parallel()
	lock, err := ReadLock([]byte(smallLock))
	require.NoError(t, err)
	want := Pin{
		Input: "nixpkgs", Rev: "abc", LastModified: time.Date(2026, 8, 20, 5, 42, 21, 0, time.UTC),
		NarHash: "sha256-x", Type: "github", Owner: "NixOS", Repo: "nixpkgs", Ref: "nixos-26.05",
	}
	pin, ok := lock.Nixpkgs()
	require.True(t, ok)
	assert.Equal(t, want, pin)
	want.Input = "other"
	pin, ok = lock.Pin("other")
	require.True(t, ok)
	assert.Equal(t, want, pin, "it follows tool's nixpkgs, which follows ours")
	assert.Len(t, lock.Pins(), 3)
}

// An input may follow "", which leaves it out, and one called "self" is an input
// like any other to Nix.
func TestReadLockOfUnusualInputs(t *testing.T) {
	t.Parallel()
	lock, err := ReadLock([]byte(strings.Replace(smallLock, `"other": ["tool", "nixpkgs"]`, `"none": [], "nixpkgs-stable": ["nixpkgs"]`, 1)))
	require.NoError(t, err)
	_, ok := lock.Pin("none")
	assert.False(t, ok)
	pin, ok := lock.Pin("nixpkgs-stable")
	require.True(t, ok)
	assert.Equal(t, "abc", pin.Rev)
}

func TestReadLockBadInput(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ old, new, want string }{
		"cut off":     {`"path"`, ``, "not what Nix writes"},
		"merged":      {`{"version"`, "<<<<<<< HEAD\n{\"version\"", "not what Nix writes"},
		"two":         {`"original": {}}}}`, `"original": {}}}}{}`, "after its end"},
		"version":     {`7`, `8`, "version 8"},
		"no root":     {`"root": "root"`, `"root": "roots"`, `no node "roots"`},
		"no node":     {`"nixpkgs_2", "other"`, `"nixpkgs_3", "other"`, `input "nixpkgs": no revision`},
		"no revision": {`"locked": {"type": "path", "lastModified": 1}, `, ``, `input "tool": no revision`},
		"circle":      {`"nixpkgs": ["nixpkgs"]`, `"nixpkgs": ["other"]`, "circle"},
		"nowhere":     {`["tool", "nixpkgs"]`, `["tool", "x"]`, `follows "x"`},
		"number":      {`["tool", "nixpkgs"]`, `7`, "names no node"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, smallLock, c.old)
			_, err := ReadLock([]byte(strings.Replace(smallLock, c.old, c.new, 1)))
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := ReadLock(make([]byte, lockSize+1))
	require.ErrorContains(t, err, "more than 4 MB")
}

func TestNoLockHasNoPins(t *testing.T) {
	t.Parallel()
	var lock *Lock
	_, ok := lock.Nixpkgs()
	assert.False(t, ok)
	assert.Empty(t, lock.Pins())
}

func FuzzReadLock(f *testing.F) {
	f.Add([]byte(smallLock))
	f.Add([]byte(`{"version":7,"root":"r","nodes":{"r":{"inputs":{"a":["a"]}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := ReadLock(data)
		if err != nil {
			return
		}
		for _, pin := range lock.Pins() {
			if _, ok := lock.Pin(pin.Input); !ok {
				t.Errorf("pin %q is listed but not there", pin.Input)
			}
		}
	})
}
