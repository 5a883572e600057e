package tree

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCollectAsksGit(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{
		".gitignore":          "result\n*.swp\n/nix/private/\n",
		"nix/deleted.nix":     "{ }\n",
		"nix/becomes-folder":  "x",
		"nix/becomes-link/in": "x",
		"nix/tracked.swp":     "x",
	})
	runGit(t, dir, "add", "-f", "nix/tracked.swp")
	require.NoError(t, os.Remove(filepath.Join(dir, "nix/deleted.nix")))
	require.NoError(t, os.Remove(filepath.Join(dir, "nix/becomes-folder")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "nix/becomes-link")))
	write(t, dir, map[string]string{
		"nix/becomes-folder/in":      "x",
		"nix/becomes-link":           "-> becomes-folder",
		"nix/new file with blanks":   "x",
		"nix/grüße ✓ \"quoted\"":     "x",
		"nix/-rf":                    "x",
		"nix/[ab]*":                  "x",
		"nix/.x.swp":                 "x",
		"nix/result":                 "-> /nix/store/x",
		"nix/private/age-key.txt":    "AGE-SECRET-KEY-1",
		"nix/private/deep/more.yaml": "x",
	})
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "nix/private/pipe"), 0o600))
	tr := collect(t, dir)
	assert.Equal(t, []string{
		"-rf", ".sops.yaml", "[ab]*", "becomes-folder/in", "becomes-link", "flake.nix", "grüße ✓ \"quoted\"",
		"new file with blanks", "secrets/secrets.yaml", "tracked.swp",
	}, paths(tr.Manifest()))
	assert.Empty(t, tr.Warnings())
}

func TestCollectInASubfolderOfTheRepository(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "servers")
	require.NoError(t, os.Rename(project(t, map[string]string{"nix/ignored": "x"}), dir))
	write(t, top, map[string]string{".gitignore": "/servers/nix/ignored\n", "nix/flake.nix": "the wrong one"})
	runGit(t, top, "init", "-q")
	commit(t, top)
	assert.Equal(t, []string{".sops.yaml", "flake.nix", "secrets/secrets.yaml"}, paths(collect(t, dir).Manifest()))
}

func TestCollectInAWorktree(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{".gitignore": "*.swp\n"})
	other := filepath.Join(t.TempDir(), "other")
	runGit(t, dir, "worktree", "add", "-q", other)
	write(t, other, map[string]string{"nix/new": "x", "nix/a.swp": "x"})
	assert.Equal(t, []string{".sops.yaml", "flake.nix", "new", "secrets/secrets.yaml"}, paths(collect(t, other).Manifest()))
}

func TestCollectLeavesOutWhatIsNotCheckedOut(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"nix/sparse/x": "x", "nix/y": "y"})
	runGit(t, dir, "update-index", "--skip-worktree", "nix/sparse/x")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "nix/sparse")))
	assert.Equal(t, []string{".sops.yaml", "flake.nix", "secrets/secrets.yaml", "y"}, paths(collect(t, dir).Manifest()))
}

func TestCollectRefusesInGit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path, reason string
		prepare            func(t *testing.T, dir string)
	}{
		{"flake ignored", "nix/flake.nix", "git ignores it", func(t *testing.T, dir string) {
			runGit(t, dir, "rm", "-q", "--cached", "nix/flake.nix")
			write(t, dir, map[string]string{".gitignore": "flake.nix\n"})
		}},
		{"secrets ignored", "secrets/secrets.yaml", "git ignores it", func(t *testing.T, dir string) {
			runGit(t, dir, "rm", "-q", "--cached", "secrets/secrets.yaml")
			write(t, dir, map[string]string{".gitignore": "secrets/\n"})
		}},
		{"secrets deleted", "secrets/secrets.yaml", "no such file", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "secrets/secrets.yaml")))
		}},
		{"submodule", "nix/sub", "a git repository of its own", func(t *testing.T, dir string) {
			runGit(t, dir, "submodule", "--quiet", "add", repository(t, nil), "nix/sub")
		}},
		{"nested repository", "nix/sub", "a git repository of its own", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"nix/sub/x": "x"})
			runGit(t, filepath.Join(dir, "nix/sub"), "init", "-q")
			runGit(t, filepath.Join(dir, "nix/sub"), "add", "x")
		}},
		{"pipe", "nix/pipe", "a named pipe", func(t *testing.T, dir string) {
			require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "nix/pipe"), 0o600))
		}},
		{"unfinished merge", "nix/flake.nix", "an unfinished merge", conflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := repository(t, nil)
			c.prepare(t, dir)
			_, err := Collect(context.Background(), dir)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.path, e.Path)
			assert.Contains(t, e.Reason, c.reason)
			assert.NotEmpty(t, e.NextStep().String())
		})
	}
}

// conflict leaves three versions of the flake in the index.
func conflict(t *testing.T, dir string) {
	blob := runGit(t, dir, "rev-parse", "HEAD:nix/flake.nix")
	var info strings.Builder
	info.WriteString("0 " + strings.Repeat("0", len(blob)) + "\tnix/flake.nix\n")
	for _, stage := range []string{"1", "2", "3"} {
		info.WriteString("100644 " + blob + " " + stage + "\tnix/flake.nix\n")
	}
	file := filepath.Join(t.TempDir(), "info")
	require.NoError(t, os.WriteFile(file, []byte(info.String()), 0o600))
	script := filepath.Join(t.TempDir(), "feed")
	require.NoError(t, program.Write(script, "#!/bin/sh\nexec git update-index --index-info <'"+file+"'\n"))
	runGit(t, dir, "-c", "alias.feed=!"+script, "feed")
}

// A hook runs with variables that point at its own repository and index.
func TestGitIgnoresTheEnvironmentOfAHook(t *testing.T) {
	dir := repository(t, map[string]string{".gitignore": "*.swp\n", "nix/a.swp": "x"})
	other := repository(t, map[string]string{"nix/wrong": "x"})
	want := runGit(t, dir, "rev-parse", "HEAD")
	for name, value := range map[string]string{
		"GIT_DIR": filepath.Join(other, ".git"), "GIT_WORK_TREE": other, "GIT_PREFIX": "nix/",
		"GIT_INDEX_FILE": filepath.Join(other, ".git", "index"), "GIT_NAMESPACE": "x", "GIT_LITERAL_PATHSPECS": "0",
		"GIT_CONFIG_PARAMETERS": "'core.bare=true'",
	} {
		t.Setenv(name, value)
	}
	assert.Equal(t, []string{".sops.yaml", "flake.nix", "secrets/secrets.yaml"}, paths(collect(t, dir).Manifest()))
	s, err := Git(context.Background(), dir)
	require.NoError(t, err)
	assert.Equal(t, GitState{InRepo: true, Commit: want, Branch: "main"}, s)
}

func TestCollectWithoutAGitProgram(t *testing.T) {
	dir := repository(t, map[string]string{".gitignore": "*.swp\n", "nix/a.swp": "x"})
	t.Setenv("PATH", t.TempDir())
	tr := collect(t, dir)
	assert.Equal(t, []string{".sops.yaml", "a.swp", "flake.nix", "secrets/secrets.yaml"}, paths(tr.Manifest()))
	assert.Contains(t, strings.Join(tr.Warnings(), "\n"), "git is not installed")
	s, err := Git(context.Background(), dir)
	require.NoError(t, err)
	assert.Zero(t, s)
}

// Stand-ins for git say what it says where a test cannot bring it to say so.
func TestCollectWithAGitThatFails(t *testing.T) {
	for name, c := range map[string]struct{ script, message, hint, warning string }{
		"another user's repository": {
			script:  `echo "fatal: detected dubious ownership in repository at '/x'" >&2; exit 128`,
			message: "detected dubious ownership", hint: "safe.directory",
		},
		"broken repository": {
			script:  `echo "fatal: not a git repository: /gone/.git/worktrees/x" >&2; exit 128`,
			message: "not a git repository: /gone", hint: "make `git -C",
		},
		"silent": {script: `exit 3`, message: "exit status 3", hint: "make `git -C"},
		"unreadable folder": {
			script:  `echo "warning: could not open directory 'nix/x/': Permission denied" >&2`,
			message: "could not open directory", hint: "make `git -C",
		},
		"Mac without developer tools": {
			script:  `echo "xcode-select: note: no developer tools were found" >&2; exit 1`,
			warning: "git is not installed",
		},
		"bare repository": {
			script:  `echo "fatal: this operation must be run in a work tree" >&2; exit 128`,
			warning: "not a git repository",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			require.NoError(t, program.Write(filepath.Join(bin, "git"), "#!/bin/sh\n"+c.script+"\n"))
			t.Setenv("PATH", bin+":/usr/bin:/bin")
			dir := project(t, nil)
			require.NoError(t, os.Mkdir(filepath.Join(dir, ".git"), 0o755))
			tr, err := Collect(context.Background(), dir)
			if c.warning != "" {
				require.NoError(t, err)
				assert.Contains(t, strings.Join(tr.Warnings(), "\n"), c.warning)
				return
			}
			require.ErrorContains(t, err, c.message)
			var hinted interface{ NextStep() next.Step }
			require.ErrorAs(t, err, &hinted)
			assert.Contains(t, hinted.NextStep().String(), c.hint)
		})
	}
}

func TestGitState(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	outside, err := Git(ctx, project(t, nil))
	require.NoError(t, err)
	assert.Zero(t, outside)

	dir := repository(t, map[string]string{"nix/embed.go": "package nix\n"})
	first := runGit(t, dir, "rev-parse", "HEAD")
	state := func() GitState {
		s, err := Git(ctx, dir)
		require.NoError(t, err)
		return s
	}
	assert.Equal(t, GitState{InRepo: true, Commit: first, Branch: "main"}, state())
	write(t, dir, map[string]string{"README.md": "new", "nix/embed.go": "package changed\n"})
	assert.False(t, state().Dirty, "neither is deployed")
	write(t, dir, map[string]string{"nix/untracked file": "x"})
	assert.True(t, state().Dirty)
	require.NoError(t, os.Remove(filepath.Join(dir, "nix/untracked file")))
	write(t, dir, map[string]string{".sops.yaml": "changed: true\n"})
	assert.True(t, state().Dirty)

	runGit(t, dir, "checkout", "-q", "--detach")
	assert.Empty(t, state().Branch)
}

func TestGitStateBeforeTheFirstCommit(t *testing.T) {
	t.Parallel()
	dir := project(t, nil)
	runGit(t, dir, "init", "-q")
	s, err := Git(context.Background(), dir)
	require.NoError(t, err)
	assert.Equal(t, GitState{InRepo: true, Branch: "main", Dirty: true}, s)
}

func TestGitStateCountsWhatUpstreamHasMore(t *testing.T) {
	t.Parallel()
	upstream := repository(t, nil)
	dir := filepath.Join(t.TempDir(), "clone")
	runGit(t, upstream, "clone", "-q", upstream, dir)
	commit(t, upstream)
	commit(t, upstream)
	runGit(t, dir, "fetch", "-q")
	s, err := Git(context.Background(), dir)
	require.NoError(t, err)
	assert.Equal(t, 2, s.Behind)
}
