package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// GitState is what git says about the project. The zero value stands for a
// project outside git.
type GitState struct {
	InRepo bool   // the project is in the work tree of a repository
	Commit string // the full hash that is checked out; "" before the first commit
	Branch string // "" when detached
	Dirty  bool   // the deployed files are not those of Commit
	Behind int    // commits of the upstream branch that are missing here, as of the last fetch
}

// Git asks for the state of the repository around dir. A project outside git,
// or a machine without git, is no error.
func Git(ctx context.Context, dir string) (GitState, error) {
	args := []string{"status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--untracked-files=all", "--"}
	out, _, err := queryGit(ctx, dir, append(args, sources...)...)
	if errors.Is(err, errNoGit) || errors.Is(err, errNoRepository) {
		return GitState{}, nil
	}
	if err != nil {
		return GitState{}, err
	}
	return parseStatus(out), nil
}

// parseStatus reads "git status --porcelain=v2 --branch -z".
func parseStatus(out string) GitState {
	s := GitState{InRepo: true}
	for record := range strings.SplitSeq(out, "\x00") {
		if header, ok := strings.CutPrefix(record, "# "); ok {
			s.header(header)
			continue
		}
		// The path ends each record. Go files are not deployed.
		if record != "" && !strings.HasSuffix(record, ".go") {
			s.Dirty = true
		}
	}
	return s
}

func (s *GitState) header(header string) {
	key, value, _ := strings.Cut(header, " ")
	switch {
	case key == "branch.oid" && value != "(initial)":
		s.Commit = value
	case key == "branch.head" && value != "(detached)":
		s.Branch = value
	case key == "branch.ab":
		_, behind, _ := strings.Cut(value, " -")
		s.Behind, _ = strconv.Atoi(behind)
	}
}

var fullHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// HasCommit says whether the repository around dir has the commit, on whatever
// branch. The commit is a full hash; outside git the answer is no.
func HasCommit(ctx context.Context, dir, commit string) (bool, error) {
	if !fullHash.MatchString(commit) {
		return false, fmt.Errorf("%q is not the full hash of a git commit", commit)
	}
	return askGit(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", commit+"^{commit}")
}

// ContainsCommit says whether what is checked out in dir builds on the commit:
// whether it is HEAD or an ancestor of it. A commit that is not there, or that
// is newer, is not contained; outside git the answer is no.
func ContainsCommit(ctx context.Context, dir, commit string) (bool, error) {
	if !fullHash.MatchString(commit) {
		return HasCommit(ctx, dir, commit) // which says what is wrong
	}
	contains, err := askGit(ctx, dir, "merge-base", "--is-ancestor", commit, "HEAD")
	if err == nil {
		return contains, nil
	}
	// To a commit that is not there, git says what it says to a broken repository.
	if has, unknown := HasCommit(ctx, dir, commit); unknown == nil && !has {
		return false, nil
	}
	return false, err
}

// askGit puts a question that git answers with exit status 0 or 1. The commit
// in it comes from a server, so it goes the plain way through os/exec.
func askGit(ctx context.Context, dir string, args ...string) (bool, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return false, nil
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", gitArgs(dir, args)...)
	cmd.Env = gitEnv(os.Environ())
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return false, nil
	}
	err = gitFailure(dir, args[0], stderr.String(), err)
	if errors.Is(err, errNoRepository) || errors.Is(err, errNoGit) {
		return false, nil
	}
	return false, err
}
