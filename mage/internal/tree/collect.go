package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Tree is the deployed files of a project, with their content in memory: what
// is archived is what was hashed, whatever happens to the files meanwhile.
type Tree struct {
	project  Project
	manifest Manifest
	content  map[string][]byte
	warnings []string
}

// Manifest lists the tree.
func (t *Tree) Manifest() Manifest { return t.manifest }

// Warnings are remarks about how the tree was collected that a person should
// see, each one line.
func (t *Tree) Warnings() []string { return slices.Clone(t.warnings) }

// File gives the content of a regular file. It is not to be changed.
func (t *Tree) File(path string) ([]byte, bool) {
	data, ok := t.content[path]
	return data, ok
}

// Source names the file of the project that is at a path of the tree.
func (t *Tree) Source(path string) string { return t.project.Source(path) }

// Size is the number of bytes in all files.
func (t *Tree) Size() int64 {
	var sum int64
	for _, data := range t.content {
		sum += int64(len(data))
	}
	return sum
}

// Collect reads the tree of the project in dir, whose flake is in nix/.
func Collect(ctx context.Context, dir string) (*Tree, error) { return Project{Dir: dir}.Collect(ctx) }

// Collect reads the tree of the project. A problem of the files is an [*Error], or
// several of them joined; each says what to do.
func (p Project) Collect(ctx context.Context) (*Tree, error) {
	if err := p.checkProject(); err != nil {
		return nil, err
	}
	l, err := p.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the files of %q: %w", p.Dir, err)
	}
	files, err := p.statAll(l.names)
	if err := errors.Join(l.err, err); err != nil {
		return nil, err
	}
	if err := p.checkRequired(files); err != nil {
		return nil, err
	}
	if err := p.checkSize(files); err != nil {
		return nil, err
	}
	t := &Tree{project: p, content: make(map[string][]byte), warnings: l.warnings}
	entries, err := t.load(ctx, files)
	if err != nil {
		return nil, err
	}
	if err := t.seal(entries); err != nil {
		return nil, err
	}
	return t, nil
}

// load reads every file, and looks for what must not be deployed.
func (t *Tree) load(ctx context.Context, files []file) ([]Entry, error) {
	var entries []Entry
	var bad problems
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, data, err := f.read(t.project.Dir)
		if err == nil && e.Type != TypeLink {
			err = checkContent(f.name, data)
			t.content[e.Path] = data
		}
		bad.add(err)
		entries = append(entries, e)
	}
	return entries, bad.err()
}

// seal checks what can only be said of all entries together.
func (t *Tree) seal(entries []Entry) error {
	m, path, reason := newManifest(entries)
	if reason != "" {
		return &Error{Path: t.project.Source(path), Reason: reason, Next: next.Words("rename or remove it, or let git ignore it")}
	}
	if a, b, found := caseCollision(m.entries); found {
		return &Error{
			Path:   t.project.Source(b),
			Reason: fmt.Sprintf("%q is the same name on a Mac, where case and the form of accents do not count", t.project.Source(a)),
			Next:   next.Words("rename one of the two"),
		}
	}
	dangling, err := t.project.checkLinks(m)
	if err != nil {
		return err
	}
	for _, e := range dangling {
		t.warnings = append(t.warnings, fmt.Sprintf("%s links to %s, which is not deployed", t.project.Source(e.Path), e.Target))
	}
	if _, secrets := m.Lookup(secretsFile); !secrets {
		t.manifest = m
		return nil
	}
	if _, ok := m.Lookup(sopsConfig); !ok {
		t.warnings = append(t.warnings, "there is no .sops.yaml to deploy: nobody can edit the secrets on the server")
	}
	t.manifest = m
	return nil
}
