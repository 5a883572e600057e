package deploy

import (
	"bytes"
	"context"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
)

// RollbackOptions are the flags of rollback.
type RollbackOptions struct {
	To    int  // generation; 0: the one before the present
	Force bool // also to a generation whose tree is not known
	UpdateOptions
}

// Rollback takes a host back to an earlier generation and the tree it was built
// from, under the same watchdog as an update. If a run waits there to be
// confirmed, it is cancelled instead, which is the rollback. With the action boot,
// nothing is switched: the earlier generation becomes the running one at a reboot, which
// is the only way back over a change that no switch may make.
func (p *Project) Rollback(ctx context.Context, host string, o RollbackOptions) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, usage(err)
	}
	if o.Action != ActionSwitch && o.Action != ActionBoot {
		return Result{}, usage(fmt.Errorf("-action=%s: a rollback is a switch, or for the next boot", o.Action))
	}
	h, err := p.host(ctx, host)
	if err != nil {
		return Result{}, err
	}
	results := p.fleet(ctx, []config.Host{h}, 1, func(ctx context.Context, h config.Host, line *observe.Line) Result {
		b := &rollback{job: job{p: p, o: o.UpdateOptions, host: h, line: line, kind: run.KindRollback, command: o.command(h.Name)}, to: o.To, force: o.Force}
		return b.run(ctx)
	})
	return results[0], summary(results)
}

type rollback struct {
	job
	to    int
	force bool
}

func (b *rollback) run(ctx context.Context) Result {
	return b.job.run(ctx, run.FactsQuery{AgeKey: defaultAgeKey, Manifest: true}, b.decide)
}

func (b *rollback) decide(ctx context.Context, s *run.Session, facts run.Facts, r *Result) {
	if err := refuseHost(b.host, facts); err != nil {
		r.failed(err)
		return
	}
	if b.ours(facts.Holder) {
		b.resume(ctx, s, facts.Holder, r)
		return
	}
	if cancellable(facts.Holder) {
		b.cancel(ctx, s, facts.Holder, r)
		return
	}
	if err := refuseBusy(b.host, facts); err != nil {
		r.failed(err)
		return
	}
	if err := refuseLacking(b.host, facts, run.KindRollback); err != nil {
		r.failed(err)
		return
	}
	b.back(ctx, s, facts, r)
}

// ours: the same person goes back to the same generation, after a lost connection
// or Ctrl-C. Cancelling that run would undo what is asked for.
func (b *rollback) ours(h *run.Holder) bool {
	return h != nil && h.Kind == string(run.KindRollback) && h.Who == b.p.Who && h.From == b.p.From &&
		h.Action == string(b.o.Action) && (b.to == 0 || b.to == h.Generation)
}

// cancellable: a run that has switched and is not yet committing.
func cancellable(h *run.Holder) bool {
	if h == nil {
		return false
	}
	switch h.Status.Phase {
	case run.PhaseSwitching, run.PhaseSwitched, run.PhaseConfirming:
		return true
	}
	return false
}

// cancel rejects the run that holds the server and waits until it is undone.
func (b *rollback) cancel(ctx context.Context, s *run.Session, h *run.Holder, r *Result) {
	b.line.Phase("cancelling run " + h.ID)
	f := b.follower("").Of(h)
	end, err := f.Cancel(ctx, s, "cancelled by a rollback")
	switch {
	case err != nil:
		b.give(r, f, err)
	case end.Result() == run.ResultRolledBack || end.Result() == run.ResultRebooted:
		r.Outcome = OutcomeCancelled
	default:
		r.conclude(b.host.Name, b.command, end)
	}
}

// command is the call of this very rollback.
func (o RollbackOptions) command(host string) next.Step {
	args := []string{host}
	if o.To != 0 {
		args = append(args, fmt.Sprintf("-to=%d", o.To))
	}
	if o.Action != ActionSwitch {
		args = append(args, "-action="+string(o.Action))
	}
	return next.Target("rollback", args...)
}

// back goes back to the chosen generation.
func (b *rollback) back(ctx context.Context, s *run.Session, facts run.Facts, r *Result) {
	list, err := s.Generations(ctx)
	if err != nil {
		r.failed(b.link.lookFailure(err))
		return
	}
	g, err := b.choose(list, facts)
	if err != nil {
		r.failed(err)
		return
	}
	b.send(ctx, s, facts, g, r)
}

// choose picks the generation, and refuses one whose tree is not known: the next
// nightly upgrade would build the present tree again and undo the rollback.
func (b *rollback) choose(list []run.Generation, facts run.Facts) (run.Generation, error) {
	var chosen *run.Generation
	for i := range list {
		g := &list[i]
		if b.to == 0 && g.Number < facts.Generation || b.to != 0 && g.Number == b.to {
			chosen = g
		}
	}
	lists := next.Say("%s lists them", next.Target("generations", b.host.Name))
	switch {
	case chosen == nil && b.to == 0:
		return run.Generation{}, refused(b.host.Name, lists, "there is no generation before %d", facts.Generation)
	case chosen == nil:
		return run.Generation{}, refused(b.host.Name, lists, "there is no generation %d", b.to)
	case !chosen.Tree && !b.force:
		return run.Generation{}, refused(b.host.Name, next.Words("choose another with -to=N, or go back with the system alone: -force"),
			"the tree that generation %d was built from is not kept, so the next nightly upgrade would undo the rollback", chosen.Number)
	}
	return *chosen, nil
}

func (b *rollback) send(ctx context.Context, s *run.Session, facts run.Facts, g run.Generation, r *Result) {
	request := b.request(facts)
	request.Kind, request.Generation, request.Digest = run.KindRollback, g.Number, run.NoDigest
	if g.Tree {
		request.Digest, request.Output = g.Record.Digest, g.Record.Output
		request.Commit, request.Dirty = g.Record.Commit, g.Record.Dirty
	}
	b.line.Phase(fmt.Sprintf("going back to generation %d", g.Number))
	b.begin(ctx, s, facts, run.Parcel{Request: request}, b.ours, r)
}

// generations asks for the generations by a command of its own.
func (l *link) generations(ctx context.Context) ([]run.Generation, error) {
	out, err := l.Ask(ctx, l.Shell.Generations())
	if err != nil {
		return nil, l.askFailure("list the generations", err)
	}
	list, err := run.ParseGenerations(bytes.NewReader(out))
	return list, l.lookFailure(err)
}
