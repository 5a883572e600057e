package tree

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// project is a repository with the least that can be deployed.
func historyProject(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"nix/flake.nix": "{ }\n", "nix/run.sh": "#!/bin/sh\n", "nix/embed.go": "package nix\n", ".sops.yaml": "creation_rules: []\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "nix/run.sh"), 0o755))
	require.NoError(t, os.Symlink("flake.nix", filepath.Join(dir, "nix/link")))
	secrets, err := os.ReadFile("../../../secrets/secrets.yaml")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "secrets"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secrets/secrets.yaml"), secrets, 0o644))
	gitIn(t, dir, "init", "-q")
	gitIn(t, dir, "add", "-A")
	gitIn(t, dir, "commit", "-qm", "one")
	return dir
}

// The name of a commit is not what is deployed: an amended commit, or a squash merge,
// holds the same tree under another one.
func TestCommitOfATree(t *testing.T) {
	t.Parallel()
	dir := historyProject(t)
	tree, err := Collect(t.Context(), dir)
	require.NoError(t, err)
	deployed := tree.Manifest().Digest()
	gitIn(t, dir, "commit", "-q", "--amend", "-m", "other words")
	amended := gitIn(t, dir, "rev-parse", "HEAD")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nix/flake.nix"), []byte("{ a = 1; }\n"), 0o644))
	gitIn(t, dir, "commit", "-qam", "two")

	found, err := Project{Dir: dir}.CommitOf(t.Context(), deployed)
	require.NoError(t, err)
	assert.Equal(t, amended, found)

	found, err = Project{Dir: dir}.CommitOf(t.Context(), strings.Repeat("0", 64))
	require.NoError(t, err)
	assert.Empty(t, found)

	found, err = Project{Dir: t.TempDir()}.CommitOf(t.Context(), deployed)
	require.NoError(t, err)
	assert.Empty(t, found, "outside git there are no commits")
}

// What git is told to overlook is deployed as it is here, or not at all, and git says
// that nothing was changed: a person is told.
func TestOverlookedFilesAreTold(t *testing.T) {
	t.Parallel()
	for mark, want := range map[string]string{"--assume-unchanged": "assume-unchanged", "--skip-worktree": "skip-worktree"} {
		dir := historyProject(t)
		gitIn(t, dir, "update-index", mark, "nix/run.sh")
		tree, err := Collect(t.Context(), dir)
		require.NoError(t, err)
		assert.Contains(t, strings.Join(tree.Warnings(), "\n"), "nix/run.sh is deployed as it is here, whatever was committed: git is told to overlook it ("+want+")")
	}
	dir := historyProject(t)
	gitIn(t, dir, "update-index", "--skip-worktree", "nix/run.sh")
	require.NoError(t, os.Remove(filepath.Join(dir, "nix/run.sh")))
	tree, err := Collect(t.Context(), dir)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(tree.Warnings(), "\n"), "nix/run.sh is not deployed: a sparse checkout")
}

// A pointer of Git LFS is some lines of text in the place of a file.
func TestLFSPointerIsRefused(t *testing.T) {
	t.Parallel()
	dir := historyProject(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nix/logo.png"),
		[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"), 0o644))
	_, err := Collect(t.Context(), dir)
	assert.ErrorContains(t, err, "Git LFS")
}
