package git

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// run runs git as a person does, in dir.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	cmd := exec.Command("git", append([]string{
		"-C", dir, "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", "-c", "advice.graftFileDeprecated=false",
		"-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always",
	}, args...)...)
	cmd.Env = Environment(os.Environ())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "init", "-q")
	commitFile(t, dir, "file", "content\n")
	return dir
}

func commitFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	write(t, dir, name, text)
	run(t, dir, "add", "-f", name)
	run(t, dir, "commit", "-q", "-m", "change "+name)
	return run(t, dir, "rev-parse", "HEAD")
}

const needle = "NEEDLE-1QQQ"

func hasNeedle(data []byte) bool { return bytes.Contains(data, []byte(needle)) }

func TestSearch(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]func(t *testing.T, dir string) (commit string){
		"in a file that is gone again": func(t *testing.T, dir string) string {
			commit := commitFile(t, dir, "key", needle)
			run(t, dir, "rm", "-q", "key")
			run(t, dir, "commit", "-q", "-m", "gone")
			return commit
		},
		"in the first commit": func(t *testing.T, dir string) string {
			run(t, dir, "checkout", "-q", "--orphan", "other")
			return commitFile(t, dir, "key", needle)
		},
		"in a stash": func(t *testing.T, dir string) string {
			write(t, dir, "file", needle)
			run(t, dir, "stash", "-q")
			return run(t, dir, "rev-parse", "stash@{0}")
		},
		"in a commit that only the reflog leads to": func(t *testing.T, dir string) string {
			commit := commitFile(t, dir, "key", needle)
			run(t, dir, "reset", "-q", "--hard", "HEAD^")
			return commit
		},
		"in a message": func(t *testing.T, dir string) string {
			run(t, dir, "commit", "-q", "--allow-empty", "-m", "my key is "+needle)
			return ""
		},
		"in the merge alone": func(t *testing.T, dir string) string {
			run(t, dir, "checkout", "-q", "-b", "side")
			commitFile(t, dir, "other", "x")
			run(t, dir, "checkout", "-q", "main")
			commitFile(t, dir, "third", "x")
			run(t, dir, "merge", "-q", "--no-commit", "side")
			return commitFile(t, dir, "key", needle)
		},
		"in a binary file": func(t *testing.T, dir string) string {
			return commitFile(t, dir, "key", "\x00\x01"+needle+"\x00")
		},
		"across two pieces of a large file": func(t *testing.T, dir string) string {
			return commitFile(t, dir, "big", strings.Repeat("x", pieceSize-5)+needle)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repository(t)
			want := hide(t, dir)
			found, err := In(dir).Search(t.Context(), hasNeedle)
			require.NoError(t, err)
			require.Len(t, found, 1)
			if want != "" {
				assert.Contains(t, found[0].Commits, want)
			}
		})
	}
	dir := repository(t)
	found, err := In(dir).Search(t.Context(), hasNeedle)
	require.NoError(t, err)
	assert.Empty(t, found)
}

// Each of these made the old search say that the key is in no commit.
func TestSearchIsNotFooled(t *testing.T) {
	t.Parallel()
	for name, hostile := range map[string]func(t *testing.T, dir string){
		"textconv": func(t *testing.T, dir string) {
			write(t, dir, ".gitattributes", "* diff=blind\n")
			run(t, dir, "config", "diff.blind.textconv", "true")
		},
		"textconv by .git/info/attributes": func(t *testing.T, dir string) {
			write(t, dir, ".git/info/attributes", "* diff=blind\n")
			run(t, dir, "config", "diff.blind.textconv", "true")
		},
		"external diff": func(t *testing.T, dir string) { run(t, dir, "config", "diff.external", "true") },
		"binary":        func(t *testing.T, dir string) { write(t, dir, ".git/info/attributes", "* -diff\n") },
		"no root diff":  func(t *testing.T, dir string) { run(t, dir, "config", "log.showRoot", "false") },
		"everything is too big": func(t *testing.T, dir string) {
			run(t, dir, "config", "core.bigFileThreshold", "1")
		},
		"colour": func(t *testing.T, dir string) { run(t, dir, "config", "color.ui", "always") },
		"replaced": func(t *testing.T, dir string) {
			blob := run(t, dir, "rev-parse", "HEAD:key")
			write(t, dir, "innocent", "nothing here")
			run(t, dir, "replace", blob, run(t, dir, "hash-object", "-w", "innocent"))
		},
		"grafted": func(t *testing.T, dir string) {
			run(t, dir, "rm", "-q", "key")
			run(t, dir, "commit", "-q", "-m", "gone")
			write(t, dir, ".git/info/grafts", run(t, dir, "rev-parse", "HEAD")+"\n")
			run(t, dir, "reflog", "expire", "--expire=now", "--all")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repository(t)
			commit := commitFile(t, dir, "key", needle)
			hostile(t, dir)
			found, err := In(dir).Search(t.Context(), hasNeedle)
			require.NoError(t, err)
			require.Len(t, found, 1)
			assert.Contains(t, found[0].Commits, commit)
		})
	}
}

func TestSearchOfAPartOfTheHistoryIsAnError(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	commitFile(t, dir, "key", needle)
	run(t, dir, "rm", "-q", "key")
	run(t, dir, "commit", "-q", "-m", "gone")
	run(t, dir, "config", "uploadpack.allowFilter", "true")

	shallow := filepath.Join(t.TempDir(), "shallow")
	run(t, dir, "clone", "-q", "--depth=1", "file://"+dir, shallow)
	_, err := In(shallow).Search(t.Context(), hasNeedle)
	require.ErrorIs(t, err, ErrShallow)

	partial := filepath.Join(t.TempDir(), "partial")
	run(t, dir, "clone", "-q", "--no-checkout", "--filter=blob:none", "file://"+dir, partial)
	_, err = In(partial).Search(t.Context(), hasNeedle)
	require.Error(t, err, "a blob is missing, and none is fetched")
}

// A hook runs with variables that point at its own repository.
func TestForeignVariablesDoNotCount(t *testing.T) {
	dir, other := repository(t), repository(t)
	commitFile(t, dir, "key", needle)
	for name, value := range map[string]string{
		"GIT_DIR": filepath.Join(other, ".git"), "GIT_WORK_TREE": other, "GIT_NAMESPACE": "x",
		"GIT_INDEX_FILE": filepath.Join(other, ".git", "index"), "GIT_OBJECT_DIRECTORY": filepath.Join(other, ".git", "objects"),
		"GIT_CONFIG_PARAMETERS": "'core.bare=true'", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.bare",
		"GIT_CONFIG_VALUE_0": "true", "GIT_EXTERNAL_DIFF": "true", "GIT_CONFIG": "/dev/null", "SOPS_AGE_KEY": "x", "SOPS_AGE_KEY_CMD": "x",
	} {
		t.Setenv(name, value)
	}
	found, err := In(dir).Search(context.Background(), hasNeedle)
	require.NoError(t, err)
	assert.Len(t, found, 1)
	for _, entry := range Environment(os.Environ()) {
		assert.NotContains(t, entry, "SOPS_AGE_KEY")
	}
}

// No program that a repository's configuration names is started.
func TestNoProgramOfTheRepositoryRuns(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	trap := filepath.Join(t.TempDir(), "trap")
	sprung := filepath.Join(t.TempDir(), "sprung")
	require.NoError(t, program.Write(trap, "#!/bin/sh\necho \"$0 $*\" >>'"+sprung+"'\ncat\n"))
	write(t, dir, ".gitattributes", "* filter=evil diff=evil\n")
	write(t, dir, "file", "changed after the commit\n")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, ".git", "hooks"), 0o755))
	for _, hook := range []string{"post-index-change", "reference-transaction", "fsmonitor-watchman"} {
		require.NoError(t, program.Write(filepath.Join(dir, ".git", "hooks", hook), "#!/bin/sh\necho hook >>'"+sprung+"'\n"))
	}
	for _, name := range []string{"filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "filter.a.b.clean", "diff.evil.textconv",
		"diff.evil.command", "diff.external", "core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "credential.helper",
		"gpg.program", "gpg.ssh.program", "alias.status", "core.askPass"} {
		run(t, dir, "config", name, trap)
	}
	repo := In(dir)
	for _, question := range [][]string{
		{"status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all"}, {"ls-files", "-z", "--others", "--exclude-standard"},
		{"log", "-p", "--no-textconv", "--no-ext-diff", "--all"}, {"rev-parse", "HEAD"},
	} {
		_, _, err := repo.Output(t.Context(), question...)
		require.NoError(t, err, question)
	}
	_, err := repo.Search(t.Context(), hasNeedle)
	require.NoError(t, err)
	_, err = repo.Ignores(t.Context(), "file")
	require.NoError(t, err)
	assert.NoFileExists(t, sprung)
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	write(t, dir, ".gitignore", "/secret*\n")
	repo := In(dir)
	for path, want := range map[string]bool{"secret": true, "file": false} {
		ignored, err := repo.Ignores(t.Context(), path)
		require.NoError(t, err)
		assert.Equal(t, want, ignored, path)
	}
	for pattern, want := range map[string]bool{"fil*": true, "secret*": false} {
		tracked, err := repo.Tracks(t.Context(), pattern)
		require.NoError(t, err)
		assert.Equal(t, want, tracked, pattern)
	}
	data, ok, err := repo.File(t.Context(), "HEAD", "file")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "content\n", string(data))
	_, ok, err = repo.File(t.Context(), "HEAD", "other")
	require.NoError(t, err)
	assert.False(t, ok)

	versions, err := repo.Versions(t.Context(), "file")
	require.NoError(t, err)
	assert.Equal(t, []string{run(t, dir, "rev-parse", "HEAD")}, versions)

	inside, err := repo.Inside(t.Context())
	require.NoError(t, err)
	assert.True(t, inside)
	inside, err = In(t.TempDir()).Inside(t.Context())
	require.NoError(t, err)
	assert.False(t, inside)
}

func TestWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := In(t.TempDir()).Inside(context.Background())
	require.ErrorIs(t, err, ErrNoGit)
	has, err := In(t.TempDir()).HasCommit(context.Background(), strings.Repeat("a", 40))
	require.NoError(t, err)
	assert.False(t, has)
}

func FuzzReadBatch(f *testing.F) {
	f.Add([]byte("aaaa blob 3\nabc\nbbbb tree 1\nx\n"))
	f.Add([]byte("aaaa missing\n"))
	f.Add([]byte("aaaa blob 99999999999\nabc"))
	f.Add([]byte("aaaa blob -1\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = readBatch(bytes.NewReader(data), func([]byte) bool { return true })
	})
}

var errNone = errors.New("none")

func TestErrorSaysWhatGitSaid(t *testing.T) {
	t.Parallel()
	e := &Error{Question: "status", Dir: "/x", Stderr: "fatal: detected dubious ownership in repository at '/x/top'\nmore", Err: errNone}
	assert.Equal(t, `git status in "/x": detected dubious ownership in repository at '/x/top'`, e.Error())
	assert.Contains(t, e.NextStep().String(), "safe.directory /x/top")
	assert.Contains(t, (&Error{Question: "status", Dir: "/x", Err: errNone}).Error(), "none")
}

func TestCommits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := repository(t)
	first := run(t, dir, "rev-parse", "HEAD")
	second := commitFile(t, dir, "file", "second\n")
	run(t, dir, "checkout", "-q", "--detach", first)
	tree := run(t, dir, "rev-parse", "HEAD^{tree}")

	for _, c := range []struct {
		name, commit  string
		has, contains bool
	}{
		{"checked out", first, true, true},
		{"newer", second, true, false},
		{"unknown", strings.Repeat("a", 40), false, false},
		{"unknown SHA-256", strings.Repeat("a", 64), false, false},
		{"not a commit", tree, false, false},
	} {
		has, err := In(dir).HasCommit(ctx, c.commit)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.has, has, c.name)
		contains, err := In(dir).ContainsCommit(ctx, c.commit)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.contains, contains, c.name)
	}
	for _, bad := range []string{"", "HEAD", "--all", first[:39], strings.ToUpper(first), first + "\n"} {
		_, err := In(dir).HasCommit(ctx, bad)
		assert.Error(t, err, bad)
	}
	outside, err := In(t.TempDir()).ContainsCommit(ctx, first)
	require.NoError(t, err)
	assert.False(t, outside)
}
