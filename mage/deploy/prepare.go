package deploy

import (
	"context"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/secrets"
)

// prepared is all that can be known on the laptop before a host is touched. It
// is the same for every host of a run.
type prepared struct {
	tree    *tree.Tree
	digest  string
	git     tree.GitState
	history ancestry
	report  *secrets.Report
	ids     *secrets.Identities
	kept    *facts.Kept // what Nix said at the last evaluation on this machine
	lock    *facts.Lock
	warning []string
	consent consent
}

const secretsPath = "secrets/secrets.yaml"

// prepare collects and checks the tree. Everything it refuses is refused before
// a connection is made.
func (p *Project) prepare(ctx context.Context) (*prepared, error) {
	t, err := tree.Collect(ctx, p.Dir)
	if err != nil {
		return nil, usage(err)
	}
	pre := &prepared{tree: t, digest: t.Manifest().Digest(), warning: t.Warnings(), history: ancestry{dir: p.Dir}, kept: facts.LoadKept(p.Dir)}
	if pre.git, err = tree.Git(ctx, p.Dir); err != nil {
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
	data, ok := pre.tree.File(secretsPath)
	if !ok {
		return fmt.Errorf("the tree has no %s", secretsPath)
	}
	ids, err := p.identities(ctx)
	if err != nil {
		return err
	}
	pre.ids = ids
	if pre.report, err = secrets.VerifyBytes(data, ids); err != nil {
		return err
	}
	if p.allowExample {
		return nil
	}
	return secrets.RefuseExample(ids, pre.report)
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

const defaultAgeKey = "/var/lib/sops-nix/key.txt"
