package fresh

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/require"
)

// NewProject makes a project whose system can be installed. Its flake.lock pins
// the nixpkgs that [NixImage] brings along.
func NewProject(t testing.TB) *e2e.Project {
	t.Helper()
	p := e2e.NewProject(t)
	for _, name := range []string{"flake.nix", "disko.sh", "modules/disk.nix"} {
		text, err := os.ReadFile(recipe("flake", name))
		require.NoError(t, err)
		p.Write("nix/"+name, string(text))
	}
	p.Write("nix/flake.lock", lock(t, filepath.Join(p.Dir, "nix"))+"\n")
	return p
}

// lock gives the flake.lock of a folder as Nix itself writes it.
func lock(t testing.TB, dir string) string {
	t.Helper()
	image, _ := images(t)
	require.NoError(t, os.Remove(filepath.Join(dir, "flake.lock")))
	tree, err := exec.Command("tar", "-C", dir, "--owner=0", "--group=0", "-c", ".").Output()
	require.NoError(t, err)
	out, err := pipe(limit, string(tree), "docker", "run", "--rm", "--interactive", "--network", "none", image,
		"/bin/sh", "-c", "mkdir /work && tar -C /work -x && nix flake lock path:/work >&2 && cat /work/flake.lock")
	require.NoError(t, err, out)
	return out
}
