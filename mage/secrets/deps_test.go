package secrets

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOnlyThisPackageImportsSops: sops brings every cloud's SDK along, and who
// imports only remote or tree shall not pay for that.
func TestOnlyThisPackageImportsSops(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, spec := range parsed.Imports {
			ours := filepath.Dir(path) == filepath.Join(root, "mage", "secrets")
			assert.False(t, !ours && strings.HasPrefix(spec.Path.Value, `"github.com/getsops/`), "%s imports %s", path, spec.Path.Value)
		}
		return nil
	})
	require.NoError(t, err)
	assert.Greater(t, seen, 20, "the whole module was looked at")
}
