// Package cmdline is the command line of the targets, where mage's own is too
// strict or too silent for a person: several hosts as words, flags in any order
// and as "-flag value", a host left out where all is meant, help where people look
// for it, and a word about what was probably meant.
//
// mage's main function reads os.Args and runs the targets one after the other, as
// far as it understands them. So a line is read to its end, and written the way
// mage wants it, before that function begins; a line that is wrong anywhere runs
// nothing.
package cmdline

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
)

// Target is a target, as its Go function declares it.
type Target struct {
	Name  string // "update", "secrets:set"
	Doc   string // of the function; begins with the function's name
	Words []string
	Flags []Flag
}

// Flag is a flag of a target.
type Flag struct {
	Name string
	Type string // "string", "int", "bool" or "time.Duration"
	Doc  string
}

// flag finds a flag; mage does not tell cases apart.
func (t *Target) flag(name string) *Flag {
	for i := range t.Flags {
		if strings.EqualFold(t.Flags[i].Name, name) {
			return &t.Flags[i]
		}
	}
	return nil
}

// hosts says whether a target takes several hosts as one word, and which stands
// for a missing one.
func (t *Target) hosts() bool { return len(t.Words) == 1 && t.Words[0] == "hosts" }

// hostFlag says whether a target takes its hosts as a flag.
func (t *Target) hostFlag() bool { return len(t.Words) == 0 && t.flag("host") != nil }

// allHosts are the targets that look only, so that all hosts are meant where none
// is named.
var allHosts = []string{"status", "diff"}

// FromSource reads the targets from the Go files of their package: one place says
// what mage, this package and the help know of them.
func FromSource(files fs.FS) ([]Target, error) {
	names, err := fs.Glob(files, "*.go")
	if err != nil {
		return nil, err
	}
	var all []Target
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("read the targets: %w", err)
		}
		line := func(n ast.Node) int { return positions.Position(n.Pos()).Line }
		beside := map[int]string{}
		for _, c := range file.Comments {
			beside[line(c)] = strings.TrimSpace(c.Text())
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.IsExported() && f.Doc != nil {
				if t, ok := targetOf(f, func(n ast.Node) string { return beside[line(n)] }); ok {
					all = append(all, t)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b Target) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// targetOf reads one function, whose flags are explained beside them. What is no
// target has other parameters.
func targetOf(f *ast.FuncDecl, comment func(ast.Node) string) (Target, bool) {
	t := Target{Name: lowerFirst(f.Name.Name), Doc: strings.TrimSpace(f.Doc.Text())}
	if f.Recv != nil {
		receiver, ok := f.Recv.List[0].Type.(*ast.Ident)
		if !ok || !receiver.IsExported() {
			return t, false
		}
		t.Name = lowerFirst(receiver.Name) + ":" + t.Name
	}
	for i, p := range f.Type.Params.List {
		switch of := p.Type.(type) {
		case *ast.SelectorExpr:
			if i != 0 || of.Sel.Name != "Context" {
				return t, false
			}
		case *ast.Ident:
			for _, name := range p.Names {
				t.Words = append(t.Words, name.Name)
			}
		case *ast.StarExpr:
			t.Flags = append(t.Flags, Flag{Name: p.Names[0].Name, Type: typeName(of.X), Doc: comment(p)})
		default:
			return t, false
		}
	}
	return t, len(f.Type.Params.List) > 0
}

func typeName(e ast.Expr) string {
	switch of := e.(type) {
	case *ast.Ident:
		return of.Name
	case *ast.SelectorExpr:
		return typeName(of.X) + "." + of.Sel.Name
	}
	return ""
}

func lowerFirst(name string) string { return strings.ToLower(name[:1]) + name[1:] }
