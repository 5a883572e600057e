package facts

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

// nix/ is the owner's: home-manager/ is deleted, a build leaves its link, a program is
// packaged. A pattern of go:embed that then matches nothing, or too much, would take
// all targets away.
func TestTargetsBuildWhateverTheOwnerDoesWithTheFolder(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(dir string) error{
		"as it is":             func(string) error { return nil },
		"without home-manager": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "home-manager")) },
		"emptied": func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "home-manager")), os.RemoveAll(filepath.Join(dir, "examples")),
				os.RemoveAll(filepath.Join(dir, "modules")), os.Remove(filepath.Join(dir, "flake.lock")), os.Remove(filepath.Join(dir, "flake.nix")))
		},
		"with the link of a build": func(dir string) error { return os.Symlink("/nix/store/none", filepath.Join(dir, "result")) },
		"with a Go program": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "hello"), 0o755),
				os.WriteFile(filepath.Join(dir, "hello", "go.mod"), []byte("module hello\n"), 0o644),
				os.WriteFile(filepath.Join(dir, "hello", "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS("../../../nix")))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/nix\n\ngo 1.26\n"), 0o644))
			require.NoError(t, change(dir))
			build := exec.CommandContext(t.Context(), "go", "build", ".")
			build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
			out, err := build.CombinedOutput()
			assert.NoError(t, err, "%s", out)
		})
	}
}
