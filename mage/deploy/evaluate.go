package deploy

import (
	"context"
	"io"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/tree"
)

// nix runs Nix on a tree in a container, as vps.yaml says.
func (p *Project) nix(t *tree.Tree, log io.Writer) *facts.Nix {
	install := p.config.Install
	return &facts.Nix{Engine: container.Engine{Program: install.Engine}, Image: install.Image, Network: install.Network, Tree: t, Log: log}
}

// evaluate asks Nix about a tree, and keeps the answer for whoever asks next.
func (p *Project) evaluate(ctx context.Context, t *tree.Tree, log io.Writer, q facts.Question) (*facts.Answer, error) {
	answer, err := facts.Evaluate(ctx, p.nix(t, log), t, q)
	if err != nil {
		return nil, err
	}
	if err := facts.Keep(p.Dir, t.Manifest().Digest(), answer, q.Build, time.Now()); err != nil {
		p.log.Warn("%v", err) // the answer is as good without
	}
	return answer, nil
}
