package tree

import (
	"cmp"
	"context"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
)

// listSpecial finds the sockets, pipes and devices of the flake's folder, which git passes
// over in silence, unless they are ignored.
func (p Project) listSpecial(ctx context.Context) ([]string, error) {
	// What cannot be walked is ignored here: git has complained about it, or
	// ignores it as well.
	names, _ := p.walk(ctx, func(d fs.DirEntry) bool {
		return d.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	repo := git.In(p.Dir)
	kept := names[:0]
	for _, name := range names {
		ignored, err := repo.Ask(ctx, "check-ignore", "--quiet", "--", name)
		if err != nil {
			return nil, err
		}
		if !ignored {
			kept = append(kept, name)
		}
	}
	return kept, nil
}

// listAll lists every file without asking git.
func (p Project) listAll(ctx context.Context, warning string) (listing, error) {
	names, err := p.walk(ctx, func(d fs.DirEntry) bool { return !d.IsDir() })
	if err != nil {
		return listing{}, err
	}
	return listing{names: append(append(names, secretsFile, sopsConfig), p.Sops...), warnings: []string{warning}}, nil
}

// walk lists the paths of the flake's folder that are wanted, without what is in a .git.
// It goes on behind what it cannot read, and reports the first of that.
func (p Project) walk(ctx context.Context, want func(fs.DirEntry) bool) ([]string, error) {
	var names []string
	var failed error
	err := filepath.WalkDir(filepath.Join(p.Dir, filepath.FromSlash(p.nix())), func(file string, d fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(p.Dir, file)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed = cmp.Or(failed, unreadable(name, err))
			return nil
		case relErr != nil:
			return relErr
		case strings.EqualFold(d.Name(), ".git") && d.IsDir():
			return filepath.SkipDir
		case strings.EqualFold(d.Name(), ".git"):
			return nil
		case want(d):
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	return names, cmp.Or(err, failed)
}

func unreadable(name string, err error) error {
	return &Error{
		Path:   filepath.ToSlash(name),
		Reason: "it cannot be read",
		Next:   next.Words("make it readable for you, or let git ignore it"),
		Err:    err,
	}
}
