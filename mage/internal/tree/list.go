package tree

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
)

// The parts of a project that are deployed.
const (
	nixDir      = "nix"
	secretsFile = "secrets/secrets.yaml"
	sopsConfig  = ".sops.yaml"
)

var sources = []string{nixDir, secretsFile, sopsConfig}

// listing is what a project offers: paths relative to it, in no order, perhaps
// twice, perhaps of files that are gone.
type listing struct {
	names    []string
	warnings []string
	err      error // problems of single files
}

// list asks git, or walks the folders where there is no git.
func list(ctx context.Context, dir string) (listing, error) {
	l, err := listGit(ctx, dir)
	switch {
	case errors.Is(err, git.ErrNoGit):
		return listAll(ctx, dir, "git is not installed: all of nix/ is deployed, also what a .gitignore names")
	case errors.Is(err, git.ErrNoRepository):
		return listAll(ctx, dir, "not a git repository: all of nix/ is deployed")
	}
	return l, err
}

// listGit lists what git tracks and what it does not ignore.
func listGit(ctx context.Context, dir string) (listing, error) {
	repo := git.In(dir)
	tracked, _, err := repo.Output(ctx, append([]string{"ls-files", "-z", "--cached", "--stage", "--"}, sources...)...)
	if err != nil {
		return listing{}, err
	}
	others, stderr, err := repo.Output(ctx, append([]string{"ls-files", "-z", "--others", "--exclude-standard", "--"}, sources...)...)
	if err != nil {
		return listing{}, err
	}
	// git warns about a folder that it cannot read, and goes on without it.
	if strings.Contains(stderr, "could not open directory") {
		return listing{}, &git.Error{Question: "ls-files", Dir: dir, Stderr: stderr, Err: fs.ErrPermission}
	}
	special, err := listSpecial(ctx, dir)
	if err != nil {
		return listing{}, err
	}
	l := listing{names: special}
	var bad problems
	for record := range strings.SplitSeq(string(tracked), "\x00") {
		bad.add(l.addTracked(dir, record))
	}
	for name := range strings.SplitSeq(string(others), "\x00") {
		bad.add(l.addUntracked(name))
	}
	l.err = bad.err()
	return l, nil
}

// addTracked reads a record "MODE HASH STAGE<tab>PATH".
func (l *listing) addTracked(dir, record string) error {
	fields, name, _ := strings.Cut(record, "\t")
	if name == "" {
		return nil
	}
	if strings.HasPrefix(fields, "160000 ") {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			return nestedRepository(name)
		}
	}
	if !strings.HasSuffix(fields, " 0") {
		return &Error{
			Path:   name,
			Reason: "it has an unfinished merge",
			Next:   next.Say("finish the merge and %s the file", next.Shell("git", "add")),
		}
	}
	l.names = append(l.names, name)
	return nil
}

// addUntracked takes a path; git ends that of a repository inside this one
// with a slash and does not look into it.
func (l *listing) addUntracked(name string) error {
	if name == "" {
		return nil
	}
	if inner, ok := strings.CutSuffix(name, "/"); ok {
		return nestedRepository(inner)
	}
	l.names = append(l.names, name)
	return nil
}

func nestedRepository(name string) error {
	return &Error{
		Path:   name,
		Reason: "it is a git repository of its own (a submodule?), which is not deployed with this one",
		Next:   next.Words("copy its files into this repository, make it an input of the flake, or let git ignore it"),
	}
}
