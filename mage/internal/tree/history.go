package tree

import (
	"context"
	"fmt"
	"strings"

	"github.com/dagadbm/vps/mage/internal/git"
)

// maxCommits is how far back a deployed tree is looked for, in commits that touch what
// is deployed.
const maxCommits = 100

// CommitOf finds the newest commit that is checked out, or that it builds on,
// whose tree has this digest; "" if there is none. A squash merge or an amended commit
// has another name than what was deployed, and the same tree.
func (p Project) CommitOf(ctx context.Context, digest string) (string, error) {
	repo := git.In(p.Dir)
	log, _, err := repo.Output(ctx, append([]string{"log", fmt.Sprintf("--max-count=%d", maxCommits), "--no-color", "--format=%H", "HEAD", "--"}, p.sources()...)...)
	if git.Absent(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	h := history{p: p, repo: repo, hashes: map[string]string{}}
	for commit := range strings.FieldsSeq(string(log)) {
		m, err := h.manifest(ctx, commit)
		if err != nil {
			return "", err
		}
		if m.Digest() == digest {
			return commit, nil
		}
	}
	return "", nil
}

// history makes manifests of commits, and reads no blob twice.
type history struct {
	p      Project
	repo   *git.Repo
	hashes map[string]string // by the blob's name
}

// manifest lists what a commit would deploy, had it nothing that must not be.
func (h history) manifest(ctx context.Context, commit string) (Manifest, error) {
	list, _, err := h.repo.Output(ctx, append([]string{"ls-tree", "-r", "-z", commit, "--"}, h.p.sources()...)...)
	if err != nil {
		return Manifest{}, err
	}
	var entries []Entry
	for record := range strings.SplitSeq(string(list), "\x00") {
		fields, name, _ := strings.Cut(record, "\t")
		path, deployed := h.p.treePath(name)
		words := strings.Fields(fields) // MODE TYPE BLOB
		if len(words) != 3 || words[1] != "blob" || !deployed {
			continue
		}
		e := Entry{Type: TypeFile, Path: path}
		switch words[0] {
		case "100755":
			e.Type = TypeExecutable
		case "120000":
			e.Type = TypeLink
		}
		if e.Hash, err = h.hash(ctx, words[2]); err != nil {
			return Manifest{}, err
		}
		entries = append(entries, e)
	}
	m, _, _ := newManifest(entries)
	return m, nil
}

func (h history) hash(ctx context.Context, blob string) (string, error) {
	if known, ok := h.hashes[blob]; ok {
		return known, nil
	}
	data, _, err := h.repo.Output(ctx, "cat-file", "blob", blob)
	if err != nil {
		return "", err
	}
	h.hashes[blob] = hash(data)
	return h.hashes[blob], nil
}
