package tree

import (
	"context"
	"strconv"
	"strings"

	"github.com/dagadbm/vps/mage/internal/git"
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
	args := []string{"status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=dirty", "--"}
	out, _, err := git.In(dir).Output(ctx, append(args, sources...)...)
	if git.Absent(err) {
		return GitState{}, nil
	}
	if err != nil {
		return GitState{}, err
	}
	return parseStatus(string(out)), nil
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
