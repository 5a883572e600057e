package facts

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/nix"
)

// All modules are loaded flat: flake.nix names each. The examples are for copying.
func TestNixFlakeNamesEveryModule(t *testing.T) {
	t.Parallel()
	tree := ourFiles(t)
	for name := range tree {
		if !strings.HasSuffix(name, ".nix") || name == "flake.nix" || strings.HasPrefix(name, "examples/") {
			continue
		}
		in := "flake.nix"
		if strings.HasPrefix(name, "home-manager/") {
			in = "modules/openclaw.nix"
		}
		assert.Contains(t, tree[in], "./"+name)
	}
}

func TestLockPinsEveryInputToOneRevision(t *testing.T) {
	t.Parallel()
	tree := ourFiles(t)
	lock, err := ReadLock([]byte(tree["flake.lock"]))
	require.NoError(t, err)
	var inputs []string
	for _, pin := range lock.Pins() {
		inputs = append(inputs, pin.Input)
		assert.Regexp(t, `^[0-9a-f]{40}$`, pin.Rev, pin.Input)
		assert.Regexp(t, `^sha256-`, pin.NarHash, pin.Input)
	}
	assert.Equal(t, []string{"disko", "home-manager", "nix-openclaw", "nixpkgs", "sops-nix"}, inputs)
	assert.Equal(t, 2, strings.Count(tree["flake.lock"], `"repo": "nixpkgs"`), "one nixpkgs for all, as asked for and as locked")
}

// nixpkgs and Home Manager of different releases warn, and break in places.
func TestNixInputsAreOfOneRelease(t *testing.T) {
	t.Parallel()
	lock, err := ReadLock([]byte(ourFiles(t)["flake.lock"]))
	require.NoError(t, err)
	nixpkgs, ok := lock.Nixpkgs()
	require.True(t, ok)
	home, ok := lock.Pin("home-manager")
	require.True(t, ok)
	assert.Equal(t, strings.TrimPrefix(nixpkgs.Ref, "nixos-"), strings.TrimPrefix(home.Ref, "release-"))
}

func TestEmbeddedFilesAreTheFolder(t *testing.T) {
	t.Parallel()
	embedded := files{}
	require.NoError(t, fs.WalkDir(nix.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == "embed.go" {
			return err
		}
		data, err := nix.Files.ReadFile(path)
		embedded[path] = string(data)
		return err
	}))
	assert.Equal(t, ourFiles(t), embedded)
}
