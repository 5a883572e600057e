package run

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The laptop's half of the protocol is Go and the server's is sh: no compiler sees a
// word that only one of them knows. These tests read both.

// source gives scripts without their comments, one after the other.
func source(t *testing.T, names ...string) string {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		files, err := filepath.Glob("scripts/" + name)
		require.NoError(t, err)
		require.NotEmpty(t, files, name)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			text.WriteString(compact(string(data)))
		}
	}
	return text.String()
}

// function is the body of a function of a script without comments or indentation.
func function(t *testing.T, text, name string) string {
	t.Helper()
	_, body, ok := strings.Cut("\n"+text, "\n"+name+"() ")
	require.True(t, ok, name)
	end := regexp.MustCompile(`\n[})]\n(\w+\(\) |\z)`).FindStringIndex(body)
	if end == nil {
		return body
	}
	return body[:end[0]]
}

// words gives the words of all that the first group of an expression matches.
func words(text, expression string) []string {
	var all []string
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		all = append(all, strings.Fields(m[1])...)
	}
	return all
}

func set(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// constants gives the values of the string constants of this package whose names begin
// with a prefix.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	var all []string
	for _, file := range parsed(t) {
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				if !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) == 0 {
					continue
				}
				if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					all = append(all, unquoted(t, lit))
				}
			}
		}
	}
	require.NotEmpty(t, all, prefix)
	return set(all)
}

// keys gives what the switches and maps of a function or method compare with.
func keys(t *testing.T, receiver, name string) []string {
	t.Helper()
	var all []string
	for _, file := range parsed(t) {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != name || receiverOf(f) != receiver {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CaseClause:
					for _, e := range n.List {
						if lit, ok := e.(*ast.BasicLit); ok {
							all = append(all, unquoted(t, lit))
						}
					}
				case *ast.KeyValueExpr:
					if lit, ok := n.Key.(*ast.BasicLit); ok {
						all = append(all, unquoted(t, lit))
					}
				}
				return true
			})
		}
	}
	require.NotEmpty(t, all, "%s.%s", receiver, name)
	return set(all)
}

func receiverOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	return of.(*ast.Ident).Name
}

func unquoted(t *testing.T, lit *ast.BasicLit) string {
	t.Helper()
	text, err := strconv.Unquote(lit.Value)
	require.NoError(t, err)
	return text
}

func parsed(t *testing.T) []*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		files = append(files, file)
	}
	return files
}

func TestWirePhasesAndResults(t *testing.T) {
	t.Parallel()
	text := source(t, "supervisor/*.sh")
	phases := set(words(text, `\bphase ([a-z-]+)`), words(text, `"\$\w+ (\w+) result=`), words(text, `date \+%s\) (\w+) `),
		words(text, `%s (\w+) %s`))
	assert.Equal(t, constants(t, "Phase"), phases)
	assert.Equal(t, constants(t, "Result"), set(words(text, `\bfinish ([a-z]+)`), words(text, `result=([a-z]+)`)))
}

func TestWireReasonsAndFields(t *testing.T) {
	t.Parallel()
	text := source(t, "supervisor/*.sh")
	assert.Equal(t, constants(t, "Reason"), set(words(text, `\breason=([a-z]+)`)))
	assert.Equal(t, constants(t, "Stage"), set(words(text, `\bstage=([a-z]+)`)))
	for _, field := range set(constants(t, "Field"), constants(t, "field")) {
		assert.Regexp(t, `[" ]`+field+`=`, text, "the laptop reads %q of a status line", field)
	}
}

// What the laptop asks for is all read, and nothing else is looked for.
func TestWireRequest(t *testing.T) {
	t.Parallel()
	text := source(t, "supervisor/*.sh")
	request := Request{ID: "id", Kind: KindUpdate, Action: ActionSwitch, Output: "o", Digest: NoDigest, Base: NoDigest,
		Deadlines: Deadlines{Switch: time.Minute}}
	sent, err := request.Encode()
	require.NoError(t, err)
	load, _, _ := strings.Cut(function(t, text, "load"), "request.old")
	read := set(words(load, `(?m)^(\w+)=\*\)`), words(text, `\brequested ([a-z ]+)`), words(text, `field "\$run/request" (\w+)`))
	assert.Equal(t, set(words(string(sent), `(?m)^(\w+)=`)), read)

	assert.Regexp(t, `= `+string(KindRollback)+` \]`, text)
	assert.Regexp(t, `(?m)= `+string(ActionSwitch)+` \]`, function(t, text, "unchanged"))
	perform := function(t, text, "perform")
	for _, action := range []Action{ActionBoot, ActionTest, ActionBuild, ActionDry} {
		assert.Regexp(t, `(?m)(^|action" != |action" = )`+string(action)+`( \]|\)$)`, perform)
	}
	assert.Regexp(t, `= `+NoDigest+` \]`, text)
}

func TestWireFacts(t *testing.T) {
	t.Parallel()
	text := source(t, "facts.sh")
	var free []string
	for _, place := range words(function(t, text, "facts_of_system"), `(?m)^set -- ([a-z ]+)$`) {
		free = append(free, "free."+place)
	}
	require.Len(t, free, 4)
	printed := set(free, words(text, `\b(?:each_line )?say ([a-z]+(?:\.[a-z]+)?)\b`),
		words(function(t, source(t, "lib.sh"), "lacking"), `printf '(\w+)=`), words(text, `manifest "\$NIXOS" (\w+)=`))
	printed = slices.DeleteFunc(printed, func(key string) bool { return key == "free" || key == "holder.status" })
	read := set(keys(t, "Facts", "texts"), keys(t, "Facts", "kilobytes"), keys(t, "Facts", "setOther"), []string{"facts", "m"})
	assert.Equal(t, read, printed)
	for _, of := range []string{"record.", "holder."} {
		assert.Contains(t, text, "printf '"+of+"%s")
	}
	assert.Regexp(t, `(?m)^echo `+FactsEnd+`$`, text)

	supervisor := source(t, "supervisor/*.sh")
	record := function(t, supervisor, "write_record")
	assert.Equal(t, keys(t, "Record", "set"), set(words(record, `requested ([a-z ]+)`), words(record, `['n](\w+)=%s`)))
	assert.Equal(t, keys(t, "Holder", "set"), set([]string{"status"}, words(function(t, supervisor, "announce"), `requested ([a-z ]+)`)))
}

func TestWireGenerations(t *testing.T) {
	t.Parallel()
	text := source(t, "generations.sh")
	printed := set(words(text, `['n](\w+)=%s`), words(text, `echo (\w+)=1`))
	assert.Equal(t, set(keys(t, "", "ParseGenerations"), keys(t, "Generation", "set")), printed)
	assert.Contains(t, text, "printf 'record.%s")
	assert.Regexp(t, `(?m)^echo `+FactsEnd+`$`, text)
}

func TestWireProbe(t *testing.T) {
	t.Parallel()
	text := source(t, "supervisor/probe.sh")
	look, verdict, ok := strings.Cut(function(t, text, "probe"), "read -r verdict")
	require.True(t, ok)
	printed := set(words(look, `['n](\w+)=%s`), words(look, `echo (\w+)=1`), words(text, `\bjudged=(\w+)`),
		words(function(t, source(t, "lib.sh"), "lacking"), `printf '(\w+)=`))
	assert.Equal(t, keys(t, "Evidence", "Add"), printed)
	assert.Equal(t, constants(t, "verdict"), set(words(verdict, `(?m)^(\w+)\*?\)$`)))
	assert.Equal(t, []string{answerConfirmed, answerRejected}, words(verdict, `echo (\w+=1)`))
}

func TestWireOrdersAndAnswers(t *testing.T) {
	t.Parallel()
	session := source(t, "session.sh")
	orders := set(words(session, `(?m)^(\w+)\)`), words(session, `(?m)^(\w+ \| \w+)\)`),
		words(source(t, "supervisor/follow.sh"), `"\$word" != (\w+) \]`))
	assert.Equal(t, constants(t, "order"), slices.DeleteFunc(orders, func(w string) bool { return w == "|" }))
	for script, answers := range map[string][]string{
		"start.sh": {answerStarted}, "forget.sh": {answerForgotten}, "note.sh": {answerNoted}, "putkey.sh": {answerPut},
	} {
		assert.Equal(t, answers, words(source(t, script), `(?m)\becho (\w+=1)$`), script)
	}
	for _, script := range []string{"start.sh", "putkey.sh"} {
		assert.Contains(t, source(t, script), "printf '"+answerFailed+"%s")
	}
	follow := source(t, "supervisor/follow.sh")
	assert.Contains(t, follow, `printf '\n`+LogMark+`\n'`)
	assert.Contains(t, source(t, "supervisor/run.sh"), "printf -- '"+phaseMark+"%s")
}

// Every member of the archive is read by its name, in the folder of its run.
func TestWireArchive(t *testing.T) {
	t.Parallel()
	text := source(t, "supervisor/*.sh", "start.sh", "session.sh")
	for _, name := range set(constants(t, "file"), constants(t, "folder")) {
		assert.Regexp(t, `"(\$run|\$STATE/runs/\$2)/`+regexp.QuoteMeta(name)+`["/]`, text)
	}
}
