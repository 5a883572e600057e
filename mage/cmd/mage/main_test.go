package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// beMage makes the test's program this one, so that none has to be built.
const beMage = "VPS_TEST_BE_MAGE"

func TestMain(m *testing.M) {
	if os.Getenv(beMage) != "" {
		main()
	}
	os.Exit(m.Run())
}

// folder is a module with targets, and a go that notes what it is asked.
type folder struct {
	t   *testing.T
	dir string
	env []string
}

func newFolder(t *testing.T) *folder {
	t.Helper()
	real, err := exec.LookPath("go")
	require.NoError(t, err)
	f := &folder{t: t, dir: t.TempDir()}
	bin := filepath.Join(f.dir, ".bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	require.NoError(t, program.Write(filepath.Join(bin, "go"), fmt.Sprintf("#!/bin/sh\necho \"$1\" >>%s/.asked\nexec %s \"$@\"\n", f.dir, real)))
	f.env = append(os.Environ(), beMage+"=1", "PATH="+bin+":"+os.Getenv("PATH"), "GOFLAGS=", "GOWORK=",
		"MAGEFILE_HASHFAST=", "MAGEFILE_CACHE="+filepath.Join(f.dir, ".cache"))
	f.write("go.mod", "module example.com/targets\n\ngo 1.26.0\n")
	f.write("words/words.go", "package words\n\nimport _ \"embed\"\n\n//go:embed word.txt\nvar Word string\n\nconst Mark = \"!\"\n")
	f.write("words/word.txt", "one")
	f.write("magefile.go", `//go:build mage

package main

import (
	"fmt"
	"os"

	"example.com/targets/words"
)

// Say says a word.
func Say() { fmt.Println(words.Word+words.Mark, os.Getenv("MAGEFILE_HASHFAST"), os.Getenv("MAGEFILE_CACHE")) }
`)
	return f
}

func (f *folder) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(text), 0o644))
}

// start starts a target and gives its first word, and what go was asked for it.
func (f *folder) start(args ...string) (said string, asked []string, err error) {
	f.t.Helper()
	log := filepath.Join(f.dir, ".asked")
	_ = os.Remove(log)
	self, err := os.Executable()
	require.NoError(f.t, err)
	cmd := exec.CommandContext(f.t.Context(), self, args...)
	cmd.Dir, cmd.Env = f.dir, f.env
	var story strings.Builder
	cmd.Stderr = &story
	out, err := cmd.Output()
	if err != nil {
		f.t.Logf("%s", story.String())
	}
	list, _ := os.ReadFile(log)
	said, _, _ = strings.Cut(string(out), " ")
	return said, strings.Fields(string(list)), err
}

func (f *folder) says(word string) (asked []string) {
	f.t.Helper()
	said, asked, err := f.start("say")
	require.NoError(f.t, err)
	assert.Equal(f.t, word, said)
	return asked
}

var onlyTheVersion = []string{"version"}

func TestUnchangedSourcesAreNotCompiledAgain(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	assert.Contains(t, f.says("one!"), "build")
	assert.Equal(t, onlyTheVersion, f.says("one!"))

	// What go reads none of changes nothing.
	f.write(".vps/logs/today", "noise")
	assert.Equal(t, onlyTheVersion, f.says("one!"))
	said, asked, err := f.start("-l")
	require.NoError(t, err)
	assert.Equal(t, []string{"Targets:\n", "version"}, []string{said, asked[0]})
	assert.Len(t, asked, 1)
}

func TestEveryChangeIsCompiled(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	f.says("one!")
	for _, c := range []struct{ name, text, word string }{
		{"words/words.go", "package words\n\nimport _ \"embed\"\n\n//go:embed word.txt\nvar Word string\n\nconst Mark = \"?\"\n", "one?"},
		{"words/word.txt", "two", "two?"},
		{"words/more.go", "package words\n\nfunc init() { Word = \"three\" }\n", "three?"},
		{"words/word.txt", "one", "three?"},
	} {
		f.write(c.name, c.text)
		assert.Contains(t, f.says(c.word), "build", c.name)
		assert.Equal(t, onlyTheVersion, f.says(c.word), c.name)
	}
	require.NoError(t, os.Remove(filepath.Join(f.dir, "words/more.go")))
	f.says("one?")
	f.env = append(f.env, "GOFLAGS=-tags=other")
	assert.Contains(t, f.says("one?"), "build", "other flags make another program")
}

// What was compiled before a mistake is not run in its stead.
func TestWhatDoesNotCompileDoesNotRun(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	f.says("one!")
	f.write("words/more.go", "package words\n\nfunc init() { Word = missing }\n")
	for range 2 {
		said, _, err := f.start("say")
		require.Error(t, err)
		assert.Empty(t, said)
	}
	f.write("words/more.go", "package words\n")
	f.says("one!")
}

// Where sources lie elsewhere, nobody can tell by the module whether they changed.
func TestSourcesElsewhereAreLeftToMage(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f *folder){
		"a replaced module": func(f *folder) {
			f.write("go.mod", "module example.com/targets\n\ngo 1.26.0\n\nreplace example.com/other => ../other\n")
		},
		"a workspace": func(f *folder) { f.write("go.work", "go 1.26.0\n\nuse .\n") },
		"a workspace elsewhere": func(f *folder) {
			f.env = append(f.env, "GOWORK="+filepath.Join(f.dir, "go.work"))
			f.write("go.work", "go 1.26.0\n\nuse .\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t)
			change(f)
			f.says("one!")
			assert.Contains(t, f.says("one!"), "build")
		})
	}
}

// A target may start mage in another repository: what this one chose is not its own.
func TestTargetsSeeTheEnvironmentAsItWas(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "say")
	cmd.Dir, cmd.Env = f.dir, f.env
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Equal(t, "one!  "+filepath.Join(f.dir, ".cache")+"\n", string(out))
}

func TestTheNewestStay(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	for _, files := range []string{"a", "b", "c", "c"} {
		_, err := cacheFor(cache, sources{"module", files})
		require.NoError(t, err)
	}
	_, err := cacheFor(cache, sources{"other", "a"})
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(cache, bySources, "*/*"))
	require.NoError(t, err)
	assert.Len(t, left, kept+1)
	assert.Contains(t, left, filepath.Join(cache, bySources, "module/c"))
}
