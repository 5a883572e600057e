package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/e2e/fresh"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// needNix gives the project the image with a real Nix, which works offline.
func (f *fixture) needNix() {
	f.t.Helper()
	if os.Getenv("VPS_E2E") != "1" {
		f.t.Skip("needs VPS_E2E=1")
	}
	f.config.Install.Image = fresh.NixImage(f.t)
}

// A real Nix locks inputs that lie in the tree itself, so that no network is
// needed.
func TestE2ELockWithRealNix(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.needNix()
	require.NoError(t, os.RemoveAll(filepath.Join(f.Dir, "nix")))
	f.write("flake.nix", `{
  inputs.a.url = "path:/work/inputs/a";
  inputs.b.url = "path:/work/inputs/b";
  outputs = { self, a, b }: { answer = a.value + b.value; };
}
`)
	f.write("inputs/a/flake.nix", "{ outputs = _: { value = 1; }; }\n")
	f.write("inputs/b/flake.nix", "{ outputs = _: { value = 2; }; }\n")

	moves, err := f.Lock(t.Context(), "")
	require.NoError(t, err, "%s", f.story)
	require.Len(t, moves, 2, "the first lock")
	assert.Equal(t, "a", moves[0].Input)
	first := f.lockText()

	moves, err = f.Lock(t.Context(), "")
	require.NoError(t, err, "%s", f.story)
	assert.Empty(t, moves)
	assert.Equal(t, first, f.lockText())

	f.write("inputs/a/flake.nix", "{ outputs = _: { value = 3; }; }\n")
	f.write("inputs/b/flake.nix", "{ outputs = _: { value = 4; }; }\n")
	moves, err = f.Lock(t.Context(), "b")
	require.NoError(t, err, "%s", f.story)
	require.Len(t, moves, 1, "only the one that was asked for")
	assert.Equal(t, "b", moves[0].Input)
	assert.NotEqual(t, moves[0].Old.NarHash, moves[0].New.NarHash)

	second := f.lockText()
	f.write("flake.nix", "{ inputs.a.url = 1 +; }\n")
	_, err = f.Lock(t.Context(), "")
	require.ErrorContains(t, err, "nix/flake.nix:1:")
	assert.Equal(t, second, f.lockText())
}
