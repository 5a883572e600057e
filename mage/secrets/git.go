package secrets

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
)

const (
	keyPath     = "secrets/age-key.txt"
	retiredPath = "secrets/age-key-retired-2000-01-01.txt" // as rotation names them
)

// git runs git in the project.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "--no-pager"}, args...)...)
	return cmd.Output()
}

// inGit reports whether dir is in a work tree of git.
func inGit(ctx context.Context, dir string) bool {
	out, err := git(ctx, dir, "rev-parse", "--is-inside-work-tree")
	return err == nil && strings.TrimSpace(string(out)) == "true"
}

// keyIgnored reports whether git ignores the key file and retired ones. Outside
// of git the line in .gitignore counts.
func keyIgnored(ctx context.Context, project Project) bool {
	if !inGit(ctx, project.Dir) {
		data, err := readIgnore(project)
		return err == nil && slices.Contains(strings.Fields(data), "/secrets/age-key*.txt")
	}
	for _, path := range []string{keyPath, retiredPath} {
		if _, err := git(ctx, project.Dir, "check-ignore", "-q", "--no-index", path); err != nil {
			return false
		}
	}
	return true
}

// keyTracked reports whether the key file is in git's index.
func keyTracked(ctx context.Context, dir string) (bool, error) {
	out, err := git(ctx, dir, "ls-files", "--", "secrets/age-key*.txt")
	return len(bytes.TrimSpace(out)) > 0, err
}

// keyCommits looks through all commits of all branches and tags for one of the
// identities, under whatever name. Keys never become arguments: git is asked
// for anything that looks like an age key, and compared here.
func keyCommits(ctx context.Context, dir string, ids *Identities) ([]string, error) {
	out, err := git(ctx, dir, "log", "--all", "--full-history", "-m", "--no-renames", "-z", "--format=%x01%H", "--name-only", "--diff-filter=AM",
		"-G", "AGE-SECRET-KEY-(PQ-)?1[A-Z0-9]", "--text")
	if err != nil {
		return nil, gitError(err)
	}
	var found []string
	for _, entry := range bytes.Split(out, []byte{1})[min(1, bytes.Count(out, []byte{1})):] {
		parts := strings.Split(strings.ReplaceAll(string(entry), "\n", "\x00"), "\x00")
		commit := parts[0]
		for _, path := range parts[1:] {
			if path != "" && !slices.Contains(found, commit) && holdsKey(ctx, dir, commit, path, ids) {
				found = append(found, commit)
			}
		}
	}
	return found, nil
}

// holdsKey reports whether a file of a commit holds one of ids other than the
// public example.
func holdsKey(ctx context.Context, dir, commit, path string, ids *Identities) bool {
	data, err := git(ctx, dir, "show", commit+":"+path)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(ids.without([]string{ExampleRecipient}).all, func(id identity) bool {
		return bytes.Contains(data, []byte(id.line))
	})
}

func gitError(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
