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
	flake   *facts.FlakeFacts
	lock    *facts.Lock
	warning []string
}

const secretsPath = "secrets/secrets.yaml"

// prepare collects and checks the tree. Everything it refuses is refused before
// a connection is made.
func (p *Project) prepare(ctx context.Context) (*prepared, error) {
	t, err := tree.Collect(ctx, p.Dir)
	if err != nil {
		return nil, usage(err)
	}
	pre := &prepared{tree: t, digest: t.Manifest().Digest(), warning: t.Warnings(), history: ancestry{dir: p.Dir}}
	if pre.git, err = tree.Git(ctx, p.Dir); err != nil {
		return nil, usage(err)
	}
	if err := p.verifySecrets(ctx, pre); err != nil {
		return nil, usage(err)
	}
	if pre.flake, err = facts.ReadFlakeFiles(t.File); err != nil {
		pre.warning = append(pre.warning, fmt.Sprintf("nix/ is not in the form that is read here, so secrets and outputs are checked by the server alone: %v", err))
		pre.flake = &facts.FlakeFacts{}
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
	if p.AllowExample {
		return nil
	}
	return secrets.RefuseExample(ids, pre.report)
}

// declaredPaths are where the secrets of an output appear on its server.
func (pre *prepared) declaredPaths(output string) []string {
	var paths []string
	for _, s := range pre.flake.Host(output).Secrets {
		paths = append(paths, s.Path)
	}
	return paths
}

// ageKeyPath is where the server keeps its age key.
func (pre *prepared) ageKeyPath() string {
	if pre.flake.AgeKeyFile != "" {
		return pre.flake.AgeKeyFile
	}
	return defaultAgeKey
}

const defaultAgeKey = "/var/lib/sops-nix/key.txt"
