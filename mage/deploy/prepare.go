package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/dagadbm/vps/mage/secrets"
)

// prepared is all that can be known on the laptop before a host is touched. It
// is the same for every host of a run.
type prepared struct {
	tree    *tree.Tree
	digest  string
	git     tree.GitState
	history ancestry
	report  *secrets.Report            // of secrets.yaml; empty without one
	reports map[string]*secrets.Report // of each sops file that can be decrypted here, by its path in the tree
	ids     *secrets.Identities
	kept    *facts.Kept // what Nix said at the last evaluation on this machine
	lock    *facts.Lock
	warning []string
	trust   trust.Record // what was confirmed on this machine
	consent consent
}

const secretsPath = "secrets/secrets.yaml"

// prepare collects and checks the tree. Everything it refuses is refused before
// a connection is made.
func (p *Project) prepare(ctx context.Context) (*prepared, error) {
	t, err := p.collect(ctx)
	if err != nil {
		return nil, usage(err)
	}
	pre := &prepared{tree: t, digest: t.Manifest().Digest(), warning: t.Warnings(), history: ancestry{p: p}, kept: facts.LoadKept(p.Dir)}
	if pre.git, err = p.gitState(ctx); err != nil {
		return nil, usage(err)
	}
	if pre.trust, err = trust.Load(ctx, p.Dir); err != nil {
		return nil, usage(err)
	}
	if err := p.verifySecrets(ctx, pre); err != nil {
		return nil, usage(err)
	}
	if data, ok := t.File("flake.lock"); ok {
		if pre.lock, err = facts.ReadLock(data); err != nil {
			return nil, usage(err)
		}
	}
	return pre, nil
}

// verifySecrets checks the very bytes that are going to be sent.
func (p *Project) verifySecrets(ctx context.Context, pre *prepared) error {
	matched, err := secrets.Files(ctx, p.Dir)
	if err != nil {
		return err
	}
	files := sopsFiles(pre.tree, matched)
	pre.report, pre.reports = &secrets.Report{}, map[string]*secrets.Report{}
	if len(files) == 0 {
		return nil // nothing here is encrypted with sops
	}
	ids, err := p.identities(ctx)
	if err != nil {
		return err
	}
	pre.ids = ids
	for _, path := range files {
		data, _ := pre.tree.File(path)
		report, err := secrets.VerifyFile(pre.tree.Source(path), data, ids)
		if err != nil && path != secretsPath && errors.Is(err, secrets.ErrWrongKey) {
			pre.warning = append(pre.warning, fmt.Sprintf("%s is encrypted for others: it is deployed, and cannot be checked here", pre.tree.Source(path)))
			continue
		}
		if err != nil {
			return err
		}
		pre.reports[path] = report
		if path == secretsPath {
			pre.report = report
		}
	}
	if p.allowExample {
		return nil
	}
	return secrets.RefuseExample(ids, pre.report)
}

// recipients are those of the sops files that a host's secrets lie in: a key of one of
// them is of use to it. Where those files are unknown, it is any file; a host without
// secrets gets the key of secrets.yaml, where its first one will most likely lie.
func (pre *prepared) recipients(h facts.Host) []string {
	files := h.Files()
	switch {
	case h.Secrets == nil:
		files = slices.Collect(maps.Keys(pre.reports))
	case len(files) == 0:
		files = []string{secretsPath}
	}
	var all []string
	for _, file := range files {
		if report := pre.reports[file]; report != nil {
			all = append(all, report.Recipients...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sopsFiles are the files of a tree that sops encrypted, secrets.yaml first: those that
// a rule of .sops.yaml matches, damaged ones too, and others that are well formed.
func sopsFiles(t *tree.Tree, matched []string) []string {
	var files []string
	for _, e := range t.Manifest().Entries() {
		data, regular := t.File(e.Path)
		switch {
		case e.Path == secretsPath:
			files = append([]string{e.Path}, files...)
		case regular && (slices.Contains(matched, t.Source(e.Path)) || secrets.Readable(e.Path, data)):
			files = append(files, e.Path)
		}
	}
	return files
}

// facts are what Nix said about an output of this very tree. Without an evaluation
// of it nothing is known here: the server finds out when it has built the system.
func (pre *prepared) facts(output string) facts.Host {
	h, _ := pre.kept.Host(output, pre.digest)
	return h
}

// declaredPaths are where the secrets of an output appear on its server.
func (pre *prepared) declaredPaths(output string) []string {
	var paths []string
	for _, s := range pre.facts(output).Secrets {
		if s.Path != "" {
			paths = append(paths, s.Path)
		}
	}
	return paths
}

// ageKeyPath is where an output keeps its age key, or where most do.
func (pre *prepared) ageKeyPath(output string) string {
	if age := pre.facts(output).Age; age != nil && age.KeyFile != "" {
		return age.KeyFile
	}
	return defaultAgeKey
}

// keyQuery asks a server about the keys that an output decrypts with.
func (pre *prepared) keyQuery(output string) run.FactsQuery {
	q := run.FactsQuery{AgeKey: pre.ageKeyPath(output)}
	if age := pre.facts(output).Age; age != nil {
		q.SSHKeys = age.SSHKeyPaths
	}
	return q
}

const defaultAgeKey = "/var/lib/sops-nix/key.txt"
