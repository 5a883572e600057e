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

// Git asks for the state of the repository around dir, whose flake is in nix/.
func Git(ctx context.Context, dir string) (GitState, error) { return Project{Dir: dir}.Git(ctx) }

// Git asks for the state of the repository around the project. A project outside
// git, or a machine without git, is no error.
func (p Project) Git(ctx context.Context) (GitState, error) {
	args := []string{"status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=dirty", "--"}
	out, _, err := git.In(p.Dir).Output(ctx, append(args, p.sources()...)...)
	if git.Absent(err) {
		return GitState{}, nil
	}
	if err != nil {
		return GitState{}, err
	}
	prefix, _, err := git.In(p.Dir).Output(ctx, "rev-parse", "--show-prefix")
	if err != nil {
		return GitState{}, err
	}
	return parseStatus(string(out), func(name string) bool {
		_, deployed := p.treePath(strings.TrimPrefix(name, strings.TrimSpace(string(prefix))))
		return deployed
	}), nil
}

// parseStatus reads "git status --porcelain=v2 --branch -z".
func parseStatus(out string, deployed func(name string) bool) GitState {
	s := GitState{InRepo: true}
	for record := range strings.SplitSeq(out, "\x00") {
		if header, ok := strings.CutPrefix(record, "# "); ok {
			s.header(header)
			continue
		}
		if record != "" && deployed(pathIn(record)) {
			s.Dirty = true
		}
	}
	return s
}

// pathIn is the path that ends a record, from the top of the repository. It may have
// spaces; the fields before it are known by the record's type.
func pathIn(record string) string {
	fields := map[byte]int{'1': 8, 'u': 10, '?': 1}[record[0]]
	for range fields {
		_, record, _ = strings.Cut(record, " ")
	}
	return record
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
