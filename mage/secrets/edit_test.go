package secrets

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/childenv"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scene is an edit by a shell script, with its plaintext in a folder of its own.
type scene struct {
	project Project
	ids     *Identities
	console *fakeConsole
	base    string
	options EditOptions
}

// newScene makes an editor of a script that gets the file as $1, and arguments
// in front of it.
func newScene(t *testing.T, script string) *scene {
	t.Helper()
	s := &scene{ids: newIdentities(t, 1), console: &fakeConsole{}, base: t.TempDir()}
	s.project = newProject(t, s.ids, exampleYAML)
	editor := filepath.Join(t.TempDir(), "my editor")
	require.NoError(t, program.Write(editor, "#!/bin/sh\nset -e\n"+script))
	environment := map[string]string{"EDITOR": `"` + editor + `"`}
	var output bytes.Buffer
	s.options = EditOptions{
		Console:  s.console,
		Declared: declare("gateway-token", "database/password", "absent"),
		Getenv:   func(name string) string { return environment[name] },
		Stdin:    strings.NewReader(""), Stdout: &output, Stderr: &output,
		bases: []string{s.base},
	}
	return s
}

func (s *scene) edit(t *testing.T) (bool, error) {
	t.Helper()
	changed, err := Edit(t.Context(), s.project.Dir, s.ids, s.options)
	left, readErr := os.ReadDir(s.base)
	require.NoError(t, readErr)
	assert.Empty(t, left, "the plaintext is gone")
	return changed, err
}

func (s *scene) get(t *testing.T, name string) string {
	t.Helper()
	value, err := Get(s.project.Dir, s.ids, name)
	require.NoError(t, err)
	return value
}

func TestEditChangesOneValue(t *testing.T) {
	t.Parallel()
	s := newScene(t, `sed -i.bak 's/hunter 2/hunter 3/' "$1"`)
	before := string(readAll(t, s.project.SecretsFile()))
	changed, err := s.edit(t)
	require.NoError(t, err)
	assert.True(t, changed)
	assert.Equal(t, "hunter 3", s.get(t, "database.password"))
	for _, line := range changedLines(before, string(readAll(t, s.project.SecretsFile()))) {
		assert.Regexp(t, `^ +(password|lastmodified|mac): `, line, "only what changed differs in git")
	}
	plain, err := mustOpen(t, readAll(t, s.project.SecretsFile()), s.ids).plain()
	require.NoError(t, err)
	assert.Equal(t, strings.Replace(exampleYAML, "hunter 2", "hunter 3", 1), string(plain))
}

func TestEditorsFolderIsPrivate(t *testing.T) {
	t.Parallel()
	report := filepath.Join(t.TempDir(), "report")
	s := newScene(t, `ls -ld "$(dirname "$1")" "$1" > `+report+`; env > `+report+`.env; pwd > `+report+`.pwd`)
	_, err := s.edit(t)
	require.NoError(t, err)
	lines := strings.Split(string(readAll(t, report)), "\n")
	assert.True(t, strings.HasPrefix(lines[0], "drwx------"), lines[0])
	assert.True(t, strings.HasPrefix(lines[1], "-rw-------"), lines[1])
	assert.Contains(t, string(readAll(t, report+".pwd")), plainPrefix)
}

func TestEditThatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"untouched":     `true`,
		"written again": `cp "$1" "$1.new"; mv "$1.new" "$1"`,
		"white space":   `echo >> "$1"; echo >> "$1"`,
		"failing":       `echo broken >> "$1"; exit 3`,
	} {
		s := newScene(t, script)
		before := readAll(t, s.project.SecretsFile())
		changed, err := s.edit(t)
		assert.Equal(t, name == "failing", err != nil, "%s: %v", name, err)
		assert.False(t, changed, name)
		assert.Equal(t, before, readAll(t, s.project.SecretsFile()), name)
	}
}

// correcting is a script that does one thing at its first call and another at
// its second.
func correcting(t *testing.T, first, second string) string {
	mark := filepath.Join(t.TempDir(), "called")
	return "if [ ! -e " + mark + " ]; then touch " + mark + "\n" + first + "\nelse\n" + second + "\nfi\n"
}

func TestBadEditGoesBackToTheEditor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ edit, said string }{
		"invalid YAML":     {`printf 'a: [\n' > "$1"`, "not valid YAML"},
		"empty":            {`: > "$1"`, "the file is empty"},
		"a list":           {`echo "- a" > "$1"`, "not valid YAML"},
		"declared secret":  {`sed -i.bak /password/d "$1"`, "no longer there: database.password"},
		"duplicate":        {`echo 'gateway-token: again' >> "$1"`, "already defined"},
		"metadata":         {`echo 'sops: {}' >> "$1"`, `"sops" belongs to sops`},
		"key of a number":  {`echo '1: x' >> "$1"`, "not text"},
		"too large number": {`echo 'n: 18446744073709551615' >> "$1"`, "too large"},
		"endless alias":    {`printf 'x: 1\n---\ny: &y [*y]\n' >> "$1"`, "not valid YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, correcting(t, c.edit, `printf 'gateway-token: corrected\ndatabase: {password: p}\n' > "$1"`))
			s.console.answers = []string{""}
			changed, err := s.edit(t)
			require.NoError(t, err)
			assert.True(t, changed)
			assert.Contains(t, s.console.story(), c.said)
			assert.Equal(t, "corrected", s.get(t, "gateway-token"))

			s = newScene(t, c.edit)
			s.console.answers = []string{" Abort "}
			before := readAll(t, s.project.SecretsFile())
			_, err = s.edit(t)
			require.ErrorIs(t, err, ErrAborted)
			assert.Equal(t, before, readAll(t, s.project.SecretsFile()))

			s = newScene(t, c.edit)
			s.console.absent = true
			before = readAll(t, s.project.SecretsFile())
			_, err = s.edit(t)
			require.ErrorContains(t, err, c.said)
			assert.Equal(t, before, readAll(t, s.project.SecretsFile()))
		})
	}
}

func TestWhatSopsWouldChangeIsSaidBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ line, said string }{
		"anchor":        {"x: &a {k: v}", "anchor &a will be lost"},
		"alias":         {"x: &a {k: v}\ny: *a", "alias *a will be replaced"},
		"tag":           {"x: !mine v", "tag !mine will be lost"},
		"large integer": {"x: 123456789012345678901234567890", "will be written differently"},
		"octal":         {"x: 007", "will be written differently"},
		"trailing zero": {"x: 1.10", "will be written differently"},
		"date":          {"x: 2024-05-06", "will be written differently"},
		"time":          {"x: 2024-05-06 07:08:09.10", "will be written differently"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := "cat >> \"$1\" <<'END'\n" + c.line + "\nEND\n"
			s := newScene(t, script)
			s.console.answers = []string{"", "abort"}
			before := readAll(t, s.project.SecretsFile())
			_, err := s.edit(t)
			require.ErrorIs(t, err, ErrAborted)
			assert.Contains(t, s.console.story(), c.said)
			assert.Equal(t, before, readAll(t, s.project.SecretsFile()), "said before, not after")

			s = newScene(t, script)
			s.console.answers = []string{"yes"}
			changed, err := s.edit(t)
			require.NoError(t, err)
			assert.True(t, changed)
		})
	}
	s := newScene(t, `printf 'a: 5\nb: "007"\nc: 0.25\nd: 2024-05-06T07:08:09Z\n' >> "$1"`)
	_, err := s.edit(t)
	require.NoError(t, err)
	assert.NotContains(t, s.console.story(), "differently")
}

func TestSomebodyElseChangedTheFile(t *testing.T) {
	t.Parallel()
	s := newScene(t, `sed -i.bak 's/hunter 2/hunter 3/' "$1"`)
	s.options.at = func(phase string) {
		if phase == "encrypted" {
			_, err := Set(t.Context(), s.project.Dir, s.ids, "gateway-token", "theirs")
			assert.NoError(t, err)
		}
	}
	_, err := s.edit(t)
	require.ErrorIs(t, err, ErrChanged)
	assert.Equal(t, "theirs", s.get(t, "gateway-token"))
	assert.Equal(t, "hunter 2", s.get(t, "database.password"))

	kept := keptIn(t, err)
	assert.NotContains(t, string(readAll(t, kept)), "hunter", "kept, and encrypted")

	s.options.at, s.options.From = nil, kept
	s.options.Getenv = func(string) string { return "sed -i.bak s/0f1e2d3c/theirs/" }
	changed, err := s.edit(t)
	require.NoError(t, err)
	assert.True(t, changed)
	assert.Equal(t, "hunter 3", s.get(t, "database.password"))
}

// keptIn is where an error says that an edit was kept.
func keptIn(t *testing.T, err error) string {
	t.Helper()
	found := regexp.MustCompile(`-from=(\S+)\x60`).FindStringSubmatch(next.Of(err).String())
	require.Len(t, found, 2, next.Of(err).String())
	return found[1]
}

func TestTwoEditsAtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, `sed -i.bak 's/hunter 2/mine/' "$1"`)
	other := *s
	other.options.Getenv = func(string) string { return "sed -i.bak s/0f1e2d3c/other/" }
	s.options.at = func(phase string) {
		if phase == "plaintext" {
			_, err := Edit(t.Context(), other.project.Dir, other.ids, other.options)
			assert.NoError(t, err)
		}
	}
	_, err := s.edit(t)
	require.ErrorIs(t, err, ErrChanged, "the second to write loses nothing and replaces nothing")
	assert.Equal(t, "other", s.get(t, "gateway-token"))
	assert.FileExists(t, keptIn(t, err))
}

func TestWhichEditor(t *testing.T) {
	t.Parallel()
	environment := map[string]string{"EDITOR": "third"}
	getenv := func(name string) string { return environment[name] }
	for _, c := range []struct{ name, value, want string }{
		{"EDITOR", "ed", "ed /f"},
		{"VISUAL", `ed --prompt "a b"`, "ed --prompt a b /f"},
		{"SOPS_EDITOR", " first -x ", "first -x /f"},
	} {
		environment[c.name] = c.value
		argv, _, err := editorCommand(getenv, "/f")
		require.NoError(t, err)
		assert.Equal(t, c.want, strings.Join(argv, " "))
	}
	argv, _, err := editorCommand(noEnvironment, "/f")
	require.NoError(t, err)
	assert.Equal(t, "vi", argv[0])
	environment["SOPS_EDITOR"] = `~/bin/ed a\ b`
	argv, _, err = editorCommand(getenv, "/f")
	require.NoError(t, err)
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(home, "bin/ed"), "a b"}, argv[:2], "as a shell reads it")
	for _, bad := range []string{`unclosed "quote`, "ed $(cat secrets/age-key.txt)", "ed `id`", "ed; id", "ed | tee /f"} {
		environment["SOPS_EDITOR"] = bad
		_, _, err = editorCommand(getenv, "/f")
		assert.ErrorContains(t, err, "SOPS_EDITOR", bad)
	}
}

func TestNoKeyReachesTheEditor(t *testing.T) {
	t.Parallel()
	environ := []string{"HOME=/h", "SOPS_AGE_KEY=AGE-SECRET-KEY-1X", "SOPS_AGE_KEY_FILE=/k", "SOPS_AGE_KEY_CMD=pass", "TERM=xterm", "SOPS_EDITOR=vi"}
	assert.Equal(t, []string{"HOME=/h", "TERM=xterm", "SOPS_EDITOR=vi"}, childenv.Without(environ))
}

func TestMissingEditor(t *testing.T) {
	t.Parallel()
	s := newScene(t, "true")
	s.options.Getenv = func(string) string { return "no-such-editor" }
	_, err := s.edit(t)
	require.Error(t, err)
	assert.Contains(t, next.Of(err).String(), "EDITOR")
}

// The plaintext is gone with the editor, or the command says that it may not be.
func TestEditorsThatKeepCopies(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]struct{ args, warning string }{
		"nano":               {"--ignorercfiles", ""},
		"emacs -nw":          {"make-backup-files nil", ""},
		"code --wait":        {"--user-data-dir /dir/editor", ""},
		"micro":              {"-backup false", ""},
		"idea --wait":        {"", "cannot be switched off"},
		"emacsclient -t":     {"", "cannot be switched off"},
		"my-editor --really": {"", "unknown"},
	} {
		argv, warning, err := editorCommand(only("EDITOR", command), "/dir/secrets.yaml")
		require.NoError(t, err)
		assert.Contains(t, strings.Join(argv, " "), want.args, command)
		assert.Equal(t, "/dir/secrets.yaml", argv[len(argv)-1], command)
		assert.Equal(t, want.warning == "", warning == "", command)
		assert.Contains(t, warning, want.warning, command)
	}
}

// sops keeps a comment beside a list's element nowhere: the edit was refused as one
// that "reads differently", without a line. It is moved above the element.
func TestACommentBesideAListElementIsMoved(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "a: b\n")
	branches, problems, err := readPlain([]byte("hosts:\n    - alpha # why\n    - beta\n"), yamlStore())
	require.NoError(t, err)
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0], "moved")
	f := mustOpen(t, readAll(t, project.SecretsFile()), ids)
	f.tree.Branches = branches
	data, err := f.sealChecked(ids)
	require.NoError(t, err)
	plain, err := mustOpen(t, data, ids).plain()
	require.NoError(t, err)
	assert.Equal(t, "hosts:\n    # why\n    - alpha\n    - beta\n", string(plain))
}
