package mage_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/cmdline"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hint is a command that some message tells a person to type, with a word where
// the message puts in what it knows.
type hint struct {
	place string
	words []string
}

// hints are the calls of next.Target in all that is no test.
func hints(t *testing.T) []hint {
	t.Helper()
	var all []hint
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isCall(call, "next", "Target") {
				return true
			}
			h := hint{place: positions.Position(call.Pos()).String()}
			for _, arg := range call.Args {
				h.words = append(h.words, typed(arg))
			}
			if h.words[0] != "WORD" { // passed through by a function whose callers are looked at
				all = append(all, h)
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	return all
}

func isCall(call *ast.CallExpr, pkg, name string) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// typed is an argument as it would be typed.
func typed(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		return typed(e.X) + typed(e.Y)
	}
	return "WORD"
}

// Every hint is a line that the targets understand: the target and its flags
// exist, and it is given the words that it needs. Once, -hostkey= was advised
// for update, which has no such flag.
func TestEveryHintCanBeTyped(t *testing.T) {
	t.Parallel()
	targets, err := cmdline.FromSource(os.DirFS("."))
	require.NoError(t, err)
	r := &cmdline.Reader{Targets: targets}
	r.Listed = func() (names []string) {
		for _, target := range targets {
			names = append(names, target.Name)
		}
		return names
	}
	all := hints(t)
	require.Greater(t, len(all), 50)
	for _, h := range all {
		require.True(t, slices.Contains(r.Listed(), h.words[0]), "%s: there is no target %q", h.place, h.words[0])
		words := h.words
		for _, target := range targets {
			if target.Name == words[0] && len(words) == 1 {
				// "secrets:set" alone names the target in a sentence.
				for range target.Words {
					words = append(words, "WORD")
				}
			}
		}
		line, err := r.Read(words)
		if assert.NoError(t, err, "%s: %q", h.place, h.words) {
			assert.Equal(t, words, line.Args, "%s: written as mage itself understands it", h.place)
		}
	}
}

// No message spells a target out, where nobody knows its name.
func TestNoMessageSpellsATargetOut(t *testing.T) {
	t.Parallel()
	targets, err := cmdline.FromSource(os.DirFS("."))
	require.NoError(t, err)
	err = filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(path, "internal/e2e") || strings.HasPrefix(path, "internal/bench") || strings.HasPrefix(path, "internal/demo") || strings.HasPrefix(path, "internal/faults") {
			return err
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				for _, target := range targets {
					for _, after := range []string{" ", "`", `"`} {
						if strings.Contains(lit.Value, "mage "+target.Name+after) {
							t.Errorf("%s: %s: use next.Target", positions.Position(lit.Pos()), lit.Value)
						}
					}
				}
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
}

// callable runs every target that a hint names, as far as its help, in the way in
// which the hint would be written there.
func (f folder) callable(caller next.Caller, argv ...string) {
	f.t.Helper()
	var names []string
	for _, h := range hints(f.t) {
		names = append(names, h.words[0])
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		help := f.must(argv[0], append(slices.Clone(argv[1:]), caller.Prefix+name, "--help")...)
		assert.Contains(f.t, help, "\n    "+caller.Command(name), "a hint says what can be typed here")
	}
}
