package deptest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maySleep are the functions of tests that may call time.Sleep although the
// clock is a real one, and why. Such a sleep must decide nothing.
var maySleep = map[string]string{
	"mage/secrets/helper_process_test.go Err":        "a process that is there to be killed",
	"mage/remote/connect_test.go TestHostileServers": "called in bubbles alone",
	"mage/remote/roundtrips_test.go farAway":         "called in bubbles alone",
	"mage/remote/server_test.go config":              "called in bubbles alone, else no time",
	"mage/internal/term/progress_test.go tick":       "called in bubbles alone",
	"mage/internal/e2e/faults_server_test.go endure": "the moment of a fault is a time",
}

// A test that sleeps to decide something is slow on a fast machine and wrong on a
// slow one. It waits for the event, or lives in a bubble of synctest, where the
// clock stands until nothing moves.
func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	err := filepath.WalkDir("../../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && strings.HasPrefix(e.Name(), ".") && len(e.Name()) > 2 {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			sleepers(t, path, used)
		}
		return nil
	})
	require.NoError(t, err)
	for name := range maySleep {
		assert.True(t, used[name], "%s does not sleep any more: take it off the list", name)
	}
}

// sleepers finds the sleeps of a file.
func sleepers(t *testing.T, path string, used map[string]bool) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	require.NoError(t, err)
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := strings.TrimPrefix(filepath.ToSlash(path), "../../../") + " " + f.Name.Name
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			switch {
			case !ok:
			case calls(call, "synctest", "Test"):
				return false
			case calls(call, "time", "Sleep"):
				used[name] = true
				assert.NotEmpty(t, maySleep[name], "%s: %s sleeps by a real clock: wait for the event", files.Position(call.Pos()), name)
			}
			return true
		})
	}
}

func calls(call *ast.CallExpr, from, name string) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == from
}
