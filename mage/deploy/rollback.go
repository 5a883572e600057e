package deploy

import (
	"bytes"
	"context"
	"fmt"
	"time"

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
	if o.Action != run.ActionSwitch && o.Action != run.ActionBoot {
		return Result{}, usage(fmt.Errorf("-action=%s: a rollback is a switch, or for the next boot", o.Action))
	}
	h, err := p.host(ctx, host)
	if err != nil {
		return Result{}, err
	}
	results := p.fleet(ctx, []config.Host{h}, 1, func(ctx context.Context, h config.Host, line *observe.Line) Result {
		b := &rollback{p: p, o: o, host: h, line: line}
		return b.run(ctx)
	})
	return results[0], summary(results)
}

type rollback struct {
	p    *Project
	o    RollbackOptions
	host config.Host
	line *observe.Line
}

func (b *rollback) run(ctx context.Context) Result {
	r := Result{Host: b.host.Name}
	b.line.Phase("connecting")
	l, err := b.p.connect(ctx, b.host)
	if err != nil {
		r.failed(err)
		return r
	}
	defer func() { l.close() }()
	l.prepare(ctx, 2)
	s, facts, err := l.factsFirst(ctx, run.FactsQuery{AgeKey: defaultAgeKey, Manifest: true})
	if err != nil {
		r.failed(err)
		return r
	}
	defer s.stop()
	if err := refuseHost(b.host, facts); err != nil {
		r.failed(err)
		return r
	}
	r.Before, r.After = facts.Generation, facts.Generation
	if b.ours(facts.Holder) {
		b.line.Phase("taking up run " + facts.Holder.ID)
		s.stop()
		f := b.follower(l, "").of(facts.Holder)
		end, err := f.follow(ctx)
		b.conclude(f, end, err, &r)
		return r
	}
	if cancellable(facts.Holder) {
		b.cancel(ctx, l, facts.Holder, &r)
		return r
	}
	if err := refuseBusy(b.host, facts); err != nil {
		r.failed(err)
		return r
	}
	b.back(ctx, l, s, facts, &r)
	return r
}

// ours: the same person goes back to the same generation, after a lost connection
// or Ctrl-C. Cancelling that run would undo what is asked for.
func (b *rollback) ours(h *run.Holder) bool {
	return h != nil && h.Kind == string(run.KindRollback) && h.Who == b.p.Who && h.From == b.p.From &&
		h.Action == string(b.o.Action) && (b.o.To == 0 || b.o.To == h.Generation)
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
func (b *rollback) cancel(ctx context.Context, l *link, h *run.Holder, r *Result) {
	b.line.Phase("cancelling run " + h.ID)
	if _, err := l.ask(ctx, l.shell().Cancel(h.ID)); err != nil {
		r.failed(l.askFailure("cancel the run "+h.ID, err))
		return
	}
	f := b.follower(l, "").of(h)
	f.watchOnly = true
	end, err := f.follow(ctx)
	switch {
	case err != nil:
		r.unsure(f, b.command(), err)
	case end.Result() == run.ResultRolledBack || end.Result() == run.ResultRebooted:
		r.Result = "cancelled"
	default:
		r.conclude(b.host.Name, b.command(), end)
	}
}

// command is the call of this very rollback.
func (b *rollback) command() next.Step {
	args := []string{b.host.Name}
	if b.o.To != 0 {
		args = append(args, fmt.Sprintf("-to=%d", b.o.To))
	}
	if b.o.Action != run.ActionSwitch {
		args = append(args, "-action="+string(b.o.Action))
	}
	return next.Target("rollback", args...)
}

// back goes back to the chosen generation.
func (b *rollback) back(ctx context.Context, l *link, s *sight, facts run.Facts, r *Result) {
	list, err := l.generations(ctx)
	if err == nil {
		var g run.Generation
		if g, err = b.choose(list, facts); err == nil {
			b.send(ctx, l, s, facts, g, r)
			return
		}
	}
	r.failed(err)
}

// choose picks the generation, and refuses one whose tree is not known: the next
// nightly upgrade would build the present tree again and undo the rollback.
func (b *rollback) choose(list []run.Generation, facts run.Facts) (run.Generation, error) {
	var chosen *run.Generation
	for i := range list {
		g := &list[i]
		if b.o.To == 0 && g.Number < facts.Generation || b.o.To != 0 && g.Number == b.o.To {
			chosen = g
		}
	}
	lists := next.Say("%s lists them", next.Target("generations", b.host.Name))
	switch {
	case chosen == nil && b.o.To == 0:
		return run.Generation{}, refused(b.host.Name, lists, "there is no generation before %d", facts.Generation)
	case chosen == nil:
		return run.Generation{}, refused(b.host.Name, lists, "there is no generation %d", b.o.To)
	case !chosen.Tree && !b.o.Force:
		return run.Generation{}, refused(b.host.Name, next.Words("choose another with -to=N, or go back with the system alone: -force"),
			"the tree that generation %d was built from is not kept, so the next nightly upgrade would undo the rollback", chosen.Number)
	}
	return *chosen, nil
}

func (b *rollback) send(ctx context.Context, l *link, s *sight, facts run.Facts, g run.Generation, r *Result) {
	request := run.Request{
		ID:            newID(time.Now()),
		Kind:          run.KindRollback,
		Action:        b.o.Action,
		Generation:    g.Number,
		Digest:        "none",
		Base:          digestOf(facts),
		Confirm:       b.o.Confirm,
		SwitchTimeout: b.o.SwitchTimeout,
		Who:           b.p.Who,
		From:          b.p.From,
		Since:         time.Now(),
	}
	if g.Tree {
		request.Digest, request.Commit, request.Dirty = g.Record.Digest, g.Record.Commit, g.Record.Dirty
	}
	b.line.Phase(fmt.Sprintf("going back to generation %d", g.Number))
	f := b.follower(l, request.ID)
	end, err := f.begin(ctx, s, parcel{request: request})
	f, end, err = f.instead(ctx, end, err, b.ours)
	b.conclude(f, end, err, r)
}

func (b *rollback) follower(l *link, id string) *follower {
	return &follower{link: l, id: id, line: b.line, action: b.o.Action,
		confirm: b.o.Confirm, limit: b.o.SwitchTimeout, settle: b.o.Settle}
}

func (b *rollback) conclude(f *follower, end run.Status, err error, r *Result) {
	if err != nil {
		f.give(r, b.command(), err)
		return
	}
	r.conclude(b.host.Name, b.command(), end)
	if r.Err == nil {
		r.Result = "rolled back as asked"
		if b.o.Action == run.ActionBoot {
			r.Result = "rolled back for the next boot"
		}
	}
}

func (l *link) generations(ctx context.Context) ([]run.Generation, error) {
	out, err := l.ask(ctx, l.shell().Generations())
	if err != nil {
		return nil, l.askFailure("list the generations", err)
	}
	list, err := run.ParseGenerations(bytes.NewReader(out))
	if err != nil {
		return nil, &Failure{Host: l.host.Name, Code: CodeFailed, Err: err, Now: asItWas}
	}
	return list, nil
}
