package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
)

// The parts of a project that are deployed, beside the folder with flake.nix.
const (
	secretsFile = "secrets/secrets.yaml"
	sopsConfig  = ".sops.yaml"
)

// Project says what of a folder is deployed.
type Project struct {
	Dir string
	// Nix is the folder with flake.nix, in Dir and with slashes: it becomes the root
	// of the tree. "" is nix, and "." is Dir itself, so that all of it is deployed.
	Nix string
	// Sops are encrypted files beside secrets/secrets.yaml, as paths in Dir. They
	// keep their places, except those below Nix. With one of them there need be no
	// secrets.yaml.
	Sops []string
}

const defaultNix = "nix"

func (p Project) nix() string { return cmp.Or(p.Nix, defaultNix) }

// root says whether the flake is in the project's own folder.
func (p Project) root() bool { return p.nix() == "." }

// flake is the path of a file of the flake's folder in the project.
func (p Project) flake(name string) string { return path.Join(p.nix(), name) }

// sources are what git is asked about.
func (p Project) sources() []string {
	if p.root() {
		return []string{"."}
	}
	return append([]string{p.nix(), secretsFile, sopsConfig}, p.Sops...)
}

// kept are what stays on this machine even where all of a project is deployed:
// what vps itself keeps there, and the private key.
func kept(name string) bool {
	folder, _, _ := strings.Cut(name, "/")
	key, _ := path.Match("secrets/age-key*.txt", name)
	return name == "vps.yaml" || folder == ".vps" || key
}

// listing is what a project offers: paths relative to it, in no order, perhaps
// twice, perhaps of files that are gone.
type listing struct {
	names    []string
	warnings []string
	err      error // problems of single files
}

// list asks git, or walks the folders where there is no git.
func (p Project) list(ctx context.Context) (listing, error) {
	l, err := p.listGit(ctx)
	switch {
	case errors.Is(err, git.ErrNoGit):
		return p.listAll(ctx, fmt.Sprintf("git is not installed: all of %s is deployed, also what a .gitignore names", p.folder()))
	case errors.Is(err, git.ErrNoRepository):
		return p.listAll(ctx, fmt.Sprintf("not a git repository: all of %s is deployed", p.folder()))
	}
	return l, err
}

// folder is what is deployed, for a person.
func (p Project) folder() string {
	if p.root() {
		return "the folder"
	}
	return p.nix() + "/"
}

// listGit lists what git tracks and what it does not ignore.
func (p Project) listGit(ctx context.Context) (listing, error) {
	repo := git.In(p.Dir)
	tracked, _, err := repo.Output(ctx, append([]string{"ls-files", "-z", "-v", "--cached", "--stage", "--"}, p.sources()...)...)
	if err != nil {
		return listing{}, err
	}
	others, stderr, err := repo.Output(ctx, append([]string{"ls-files", "-z", "--others", "--exclude-standard", "--"}, p.sources()...)...)
	if err != nil {
		return listing{}, err
	}
	// git warns about a folder that it cannot read, and goes on without it.
	if strings.Contains(stderr, "could not open directory") {
		return listing{}, &git.Error{Question: "ls-files", Dir: p.Dir, Stderr: stderr, Err: fs.ErrPermission}
	}
	special, err := p.listSpecial(ctx)
	if err != nil {
		return listing{}, err
	}
	l := listing{names: special}
	var bad problems
	for record := range strings.SplitSeq(string(tracked), "\x00") {
		bad.add(l.addTracked(p, record))
	}
	for name := range strings.SplitSeq(string(others), "\x00") {
		bad.add(l.addUntracked(name))
	}
	l.err = bad.err()
	return l, nil
}

// addTracked reads a record "TAG MODE HASH STAGE<tab>PATH".
func (l *listing) addTracked(p Project, record string) error {
	fields, name, _ := strings.Cut(record, "\t")
	if name == "" {
		return nil
	}
	tag, fields, _ := strings.Cut(fields, " ")
	l.overlooked(p, name, tag)
	if strings.HasPrefix(fields, "160000 ") {
		if info, err := os.Lstat(filepath.Join(p.Dir, name)); err == nil && info.IsDir() {
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

// overlooked tells of a file whose state git does not look at, by its tag: lower case
// for assume-unchanged, S for skip-worktree, which a sparse checkout sets.
func (l *listing) overlooked(p Project, name, tag string) {
	skipped := strings.EqualFold(tag, "S")
	if _, deployed := p.treePath(name); !deployed || tag == strings.ToUpper(tag) && !skipped {
		return
	}
	if _, err := os.Lstat(filepath.Join(p.Dir, name)); skipped && err != nil {
		l.warnings = append(l.warnings, name+" is not deployed: a sparse checkout leaves it out (git sparse-checkout disable)")
		return
	}
	mark := "assume-unchanged"
	if skipped {
		mark = "skip-worktree"
	}
	l.warnings = append(l.warnings, fmt.Sprintf("%s is deployed as it is here, whatever was committed: git is told to overlook it (%s)", name, mark))
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
