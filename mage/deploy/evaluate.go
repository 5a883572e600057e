package deploy

import (
	"context"
	"io"
	"path"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/secrets"
)

// source says what of the project is deployed: the flake's folder, and every sops
// file, wherever it lies.
func (p *Project) source(ctx context.Context) (tree.Project, error) {
	s := tree.Project{Dir: p.Dir, Nix: p.config.Nix}
	if s.Nix == "." {
		return s, nil
	}
	files, err := secrets.Files(ctx, p.Dir)
	if err != nil {
		return s, err
	}
	for _, file := range files {
		if file != secretsPath {
			s.Sops = append(s.Sops, file)
		}
	}
	return s, nil
}

// sources are the files of the project that are at paths of the tree; nil stays nil.
func (p *Project) sources(ctx context.Context, paths []string) ([]string, error) {
	layout, err := p.source(ctx)
	if err != nil || paths == nil {
		return nil, err
	}
	sources := []string{}
	for _, path := range paths {
		sources = append(sources, sourceOf(layout, path))
	}
	return sources, nil
}

// collect reads what is deployed.
func (p *Project) collect(ctx context.Context) (*tree.Tree, error) {
	s, err := p.source(ctx)
	if err != nil {
		return nil, err
	}
	return s.Collect(ctx)
}

// gitState is what git says about what is deployed.
func (p *Project) gitState(ctx context.Context) (tree.GitState, error) {
	s, err := p.source(ctx)
	if err != nil {
		return tree.GitState{}, err
	}
	return s.Git(ctx)
}

// flakeFile is a file of the flake's folder, as a person names it.
func (p *Project) flakeFile(name string) string { return path.Join(p.config.Nix, name) }

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
