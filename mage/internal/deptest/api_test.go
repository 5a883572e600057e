package deptest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shown are the internal types that the library shows by a documented alias.
var shown = map[string]bool{"Step": true}

// Who imports the library can neither name a type of an internal package nor read its
// fields in go doc.
func TestLibraryShowsNoInternalTypes(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("../../deploy/*.go")
	require.NoError(t, err)
	found := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		internal := map[string]bool{}
		for _, i := range file.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			if strings.Contains(path, "/internal/") {
				internal[path[strings.LastIndex(path, "/")+1:]] = true
			}
		}
		for name, node := range exported(file) {
			found++
			if shown[name] {
				continue
			}
			ast.Inspect(node, func(n ast.Node) bool {
				if field, ok := n.(*ast.Field); ok && len(field.Names) > 0 && !anyExported(field.Names) && inStruct(node) {
					return false
				}
				if s, ok := n.(*ast.SelectorExpr); ok {
					x, _ := s.X.(*ast.Ident)
					assert.False(t, x != nil && internal[x.Name], "%s shows %s.%s", name, x, s.Sel)
				}
				return true
			})
		}
	}
	assert.Greater(t, found, 30)
}

// exported are the types and signatures of a file that others can use.
func exported(file *ast.File) map[string]ast.Node {
	all := map[string]ast.Node{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && receiverExported(d) {
				all[d.Name.Name+"()"] = d.Type
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() {
					all[s.Name.Name] = s.Type
				}
			}
		}
	}
	return all
}

func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	of := d.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	name, ok := of.(*ast.Ident)
	return ok && name.IsExported()
}

// inStruct: names without a capital are hidden in a struct, and not in a signature.
func inStruct(n ast.Node) bool {
	_, ok := n.(*ast.StructType)
	return ok
}

func anyExported(names []*ast.Ident) bool {
	for _, n := range names {
		if n.IsExported() {
			return true
		}
	}
	return false
}

// The library's contents fit two screens of a terminal of 40 lines.
func TestLibraryFitsTwoScreens(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "doc", "./mage/deploy")
	cmd.Dir = "../../.."
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "type Project struct")
	assert.LessOrEqual(t, strings.Count(string(out), "\n"), 80, "%s", out)
}
