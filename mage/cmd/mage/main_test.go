package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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

// folder is a module with a target that says a word, and where it runs.
type folder struct {
	t   *testing.T
	dir string
}

func newFolder(t *testing.T) *folder {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	f := &folder{t: t, dir: dir}
	f.write("go.mod", "module example.com/targets\n\ngo 1.26.0\n")
	f.write("words/words.go", "package words\n\nconst Mark = \"!\"\n")
	f.write(".deploy/motd.txt", "one")
	f.write("magefile.go", `//go:build mage

package main

import (
	_ "embed"
	"fmt"
	"os"

	"example.com/targets/words"
)

//go:embed .deploy/motd.txt
var word string

// Say says a word.
func Say() {
	dir, _ := os.Getwd()
	fmt.Println(word+words.Mark, dir, os.Getenv("VPS_CALLED_FROM"))
}
`)
	return f
}

func (f *folder) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(text), 0o644))
}

// command starts mage in a folder.
func (f *folder) command(dir string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(f.t, err)
	cmd := exec.CommandContext(f.t.Context(), self, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), beMage+"=1", "GOFLAGS=", "GOWORK=off", "MAGEFILE_HASHFAST=",
		"MAGEFILE_CACHE="+filepath.Join(f.dir, ".cache"))
	return cmd
}

func (f *folder) says(dir string, args ...string) []string {
	f.t.Helper()
	var story strings.Builder
	cmd := f.command(dir, args...)
	cmd.Stderr = &story
	out, err := cmd.Output()
	require.NoError(f.t, err, "%s", story.String())
	return strings.Fields(string(out))
}

// magefile/mage#258, #236: what a build reads is more than one can list, so go is
// asked each time.
func TestEveryChangeIsCompiled(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	assert.Equal(t, []string{"one!", f.dir}, f.says(f.dir, "say"))
	f.write(".deploy/motd.txt", "two")
	assert.Equal(t, []string{"two!", f.dir}, f.says(f.dir, "say"), "an embedded dot-folder")

	elsewhere := filepath.Join(f.t.TempDir(), "words")
	require.NoError(t, os.Rename(filepath.Join(f.dir, "words"), elsewhere))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(f.dir, "words")))
	assert.Equal(t, []string{"two!", f.dir}, f.says(f.dir, "say"))
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "words.go"), []byte("package words\n\nconst Mark = \"?\"\n"), 0o644))
	assert.Equal(t, []string{"two?", f.dir}, f.says(f.dir, "say"), "a package in a symlinked folder")

	f.write(".deploy/more.go", "package no") // not read by go
	f.write("words/wrong.go", "package words\n\nfunc init() { missing() }\n")
	out, err := f.command(f.dir, "say").Output()
	require.Error(t, err, "what does not compile does not run")
	assert.Empty(t, out)
	assert.NoFileExists(t, filepath.Join(f.dir, mainFile))
}

// magefile/mage#364: with -d from outside of the module, go was asked there.
func TestCalledFromElsewhere(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	outside, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	assert.Equal(t, []string{"one!", f.dir, outside}, f.says(outside, "-d", f.dir, "say"))
	assert.Equal(t, []string{"one!", f.dir, outside}, f.says(outside, "-d", f.dir, "-w", f.dir, "say"))
	assert.Equal(t, []string{"one!", outside, outside}, f.says(outside, "-d", f.dir, "-w", ".", "say"))

	inside := filepath.Join(f.dir, "nix/modules")
	require.NoError(t, os.MkdirAll(inside, 0o755))
	assert.Equal(t, []string{"one!", f.dir, inside}, f.says(inside, "say"), "from a subfolder")

	f.says(inside, "-compile", "targets")
	assert.FileExists(t, filepath.Join(inside, "targets"), "a path means what it means where it was typed")
	assert.Equal(t, "Targets:", f.says(inside, "-l")[0])
}

// magefile/mage#247: starts at once removed each other's main function.
func TestStartsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	for round := range 2 {
		f.write(".deploy/motd.txt", []string{"one", "two"}[round])
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				out, err := f.command(f.dir, "say").CombinedOutput()
				assert.NoError(t, err, "%s", out)
			})
		}
		all.Wait()
	}
}

// A magefile with nothing but the import is the same in every project, and mage
// names the compiled targets after it.
func TestProjectsWithTheSameMagefileDoNotShareAProgram(t *testing.T) {
	t.Parallel()
	a, b := newFolder(t), newFolder(t)
	b.write(".deploy/motd.txt", "other")
	for range 2 {
		for _, f := range []*folder{a, b} {
			cmd := f.command(f.dir, "say")
			cmd.Env = append(cmd.Env, "MAGEFILE_CACHE="+filepath.Join(a.dir, ".cache"), "MAGEFILE_HASHFAST=1")
			out, err := cmd.Output()
			require.NoError(t, err)
			assert.Equal(t, map[*folder]string{a: "one!", b: "other!"}[f], strings.Fields(string(out))[0])
		}
	}
}

func TestTheFirstStartSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	var story strings.Builder
	cmd := f.command(f.dir, "say")
	cmd.Stderr = &story
	require.NoError(t, cmd.Run())
	assert.Contains(t, story.String(), "compiling the targets, once")

	out, err := f.command(f.dir, "-version").Output()
	require.NoError(t, err)
	assert.Regexp(t, `^vps \S+ \(mage v`, string(out))
	_, err = f.command(t.TempDir(), "say").Output()
	require.Error(t, err, "no magefile anywhere above")
}
