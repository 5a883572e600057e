package deploy

import (
	"context"
	"time"

	"github.com/dagadbm/vps/mage/internal/bootstrap"
	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/secrets"
)

// Generations lists the generations of a host, oldest first.
func (p *Project) Generations(ctx context.Context, host string) ([]Generation, error) {
	h, err := p.host(ctx, host)
	if err != nil {
		return nil, err
	}
	l, err := p.connect(ctx, h)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	list, err := l.generations(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Generation, len(list))
	for i, g := range list {
		all[i] = generationOf(g)
	}
	return all, nil
}

// Diff tells what an update would change in a host's /etc/nixos, sorted by path.
func (p *Project) Diff(ctx context.Context, host string) ([]Change, error) {
	d, _, err := p.differences(ctx, host, nil)
	return changesOf(d), err
}

// SecretChanges tells which secrets an update would change on a host, by name.
func (p *Project) SecretChanges(ctx context.Context, host string) ([]secrets.Change, error) {
	_, changes, err := p.DiffSecrets(ctx, host)
	return changes, err
}

// DiffSecrets is [Project.Diff] and [Project.SecretChanges] over one connection.
func (p *Project) DiffSecrets(ctx context.Context, host string) ([]Change, []secrets.Change, error) {
	ids, err := p.identities(ctx)
	if err != nil {
		return nil, nil, usage(err)
	}
	d, changes, err := p.differences(ctx, host, ids)
	return changesOf(d), changes, err
}

// differences compares the tree with that of a host, and the secrets in it where
// there are identities to decrypt them with.
func (p *Project) differences(ctx context.Context, host string, ids *secrets.Identities) (tree.Difference, []secrets.Change, error) {
	h, err := p.host(ctx, host)
	if err != nil {
		return tree.Difference{}, nil, err
	}
	t, err := p.collect(ctx)
	if err != nil {
		return tree.Difference{}, nil, usage(err)
	}
	l, err := p.connect(ctx, h)
	if err != nil {
		return tree.Difference{}, nil, err
	}
	defer l.Close()
	facts, err := l.facts(ctx, run.FactsQuery{AgeKey: defaultAgeKey, Manifest: true})
	if err != nil {
		return tree.Difference{}, nil, err
	}
	old, err := manifestOf(facts)
	if err != nil {
		return tree.Difference{}, nil, &Failure{Host: h.Name, Code: CodeFailed, Err: err, Now: asItWas}
	}
	d := tree.Diff(old, t.Manifest())
	if ids == nil {
		return d, nil, nil
	}
	changes, err := l.secretChanges(ctx, t, d, ids, facts.Record)
	if err != nil {
		return d, nil, &Failure{Host: h.Name, Code: CodeUsage, Err: err, Now: asItWas}
	}
	return d, changes, nil
}

// Status looks at hosts, side by side. Only a host that could not be looked at
// makes an error.
func (p *Project) Status(ctx context.Context, hosts string, parallel int) ([]HostStatus, error) {
	list, err := p.hosts(ctx, hosts)
	if err != nil {
		return nil, err
	}
	statuses := make([]HostStatus, len(list))
	index := map[string]int{}
	for i, h := range list {
		index[h.Name] = i
	}
	results := p.fleet(ctx, list, parallel, func(ctx context.Context, h config.Host, line *observe.Line) Result {
		s := p.statusOf(ctx, h, line)
		statuses[index[h.Name]] = s
		return Result{Host: h.Name, shown: s.State, Err: s.Err}
	})
	return statuses, summary(results)
}

func (p *Project) statusOf(ctx context.Context, h config.Host, line *observe.Line) HostStatus {
	began := time.Now()
	line.Phase("connecting")
	facts, err := p.look(ctx, h)
	s := statusFrom(facts, err, bootstrap.Look(p.Dir, h) != nil)
	s.Host, s.Time = h.Name, time.Since(began)
	return s
}

// look asks a host for what status shows.
func (p *Project) look(ctx context.Context, h config.Host) (run.Facts, error) {
	l, err := p.connect(ctx, h)
	if err != nil {
		return run.Facts{}, err
	}
	defer l.Close()
	return l.facts(ctx, run.FactsQuery{AgeKey: defaultAgeKey, Manifest: true, Units: true})
}
