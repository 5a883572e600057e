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
func (p *Project) Generations(ctx context.Context, host string) ([]run.Generation, error) {
	h, err := p.host(ctx, host)
	if err != nil {
		return nil, err
	}
	l, err := p.connect(ctx, h)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.generations(ctx)
}

// Diff tells what an update would change in a host's /etc/nixos.
func (p *Project) Diff(ctx context.Context, host string) (tree.Difference, error) {
	d, _, err := p.differences(ctx, host, nil)
	return d, err
}

// SecretChanges tells which secrets an update would change on a host, by name.
func (p *Project) SecretChanges(ctx context.Context, host string) ([]secrets.Change, error) {
	_, changes, err := p.DiffSecrets(ctx, host)
	return changes, err
}

// DiffSecrets is [Project.Diff] and [Project.SecretChanges] over one connection.
func (p *Project) DiffSecrets(ctx context.Context, host string) (tree.Difference, []secrets.Change, error) {
	ids, err := p.identities(ctx)
	if err != nil {
		return tree.Difference{}, nil, usage(err)
	}
	return p.differences(ctx, host, ids)
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

// HostStatus is what status shows of one host.
type HostStatus struct {
	Host  string
	Facts run.Facts
	// Drift says that /etc/nixos is not what the last commit put there.
	Drift bool
	// Unfinished says that a bootstrap of the host did not come to its end.
	Unfinished bool
	Err        error
	Time       time.Duration
}

// Running says in a few words whether what runs is what was committed.
func (s HostStatus) Running() string {
	f := s.Facts
	switch {
	case s.Err != nil:
		return string(outcomeOf(codeOf(s.Err)))
	case !f.NixOS:
		return "not NixOS"
	case f.Intent != "":
		return "commit interrupted"
	case len(f.Open) > 0:
		return "waiting for its watchdog"
	case f.Holder != nil:
		return f.Holder.Status.Phase
	case f.Record == nil && s.Unfinished:
		return "bootstrap unfinished"
	case f.Record == nil:
		return "not ours yet"
	case f.Current != f.Profile:
		return "another system than the boot default"
	case s.Drift:
		return "/etc/nixos changed by hand"
	case f.Generation > f.Record.Generation:
		return "upgraded by itself"
	}
	return "as committed"
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
		return Result{Host: h.Name, shown: s.Running(), Err: s.Err}
	})
	return statuses, summary(results)
}

func (p *Project) statusOf(ctx context.Context, h config.Host, line *observe.Line) (s HostStatus) {
	s.Host = h.Name
	s.Unfinished = bootstrap.Look(p.Dir, h) != nil
	line.Phase("connecting")
	l, err := p.connect(ctx, h)
	if err != nil {
		s.Err = err
		return s
	}
	defer l.Close()
	s.Facts, s.Err = l.facts(ctx, run.FactsQuery{AgeKey: defaultAgeKey, Manifest: true, Units: true})
	s.Drift = s.Err == nil && s.Facts.Record != nil && digestOf(s.Facts) != s.Facts.Record.Digest
	return s
}
