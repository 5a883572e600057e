package deploy

import (
	"context"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/tree"
)

// Update brings hosts to the present tree. Hosts run side by side; one that
// fails never stops another. The results come in the order of the hosts.
func (p *Project) Update(ctx context.Context, hosts string, o UpdateOptions) ([]Result, error) {
	if err := o.check(); err != nil {
		return nil, usage(err)
	}
	list, err := p.hosts(ctx, hosts)
	if err != nil {
		return nil, err
	}
	pre, err := p.prepare(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.verifySigned(ctx, pre, o.Yes); err != nil {
		return nil, usage(err)
	}
	p.warn(pre, o)
	results := p.fleet(ctx, list, o.Parallel, func(ctx context.Context, h config.Host, line *observe.Line) Result {
		u := p.updateOf(pre, o, h, line)
		u.many = len(list) > 1
		return u.run(ctx)
	})
	return results, summary(results)
}

func (p *Project) warn(pre *prepared, o UpdateOptions) {
	for _, w := range pre.warning {
		p.log.Warn("%s", w)
	}
	if o.Confirm == 0 && o.Action.onServer().Activates() {
		p.log.Warn("-confirm=0: no watchdog. A configuration that shuts you out stays until somebody reaches the console")
	}
	if pre.lock != nil {
		if pin, ok := pre.lock.Nixpkgs(); ok && time.Since(pin.LastModified) > 30*24*time.Hour {
			p.log.Warn("flake.lock pins nixpkgs of %s, over 30 days ago: %s", pin.LastModified.Format("2006-01-02"), next.Target("lock"))
		}
	}
}

// update is the update of one host.
type update struct {
	job
	pre *prepared
}

func (p *Project) updateOf(pre *prepared, o UpdateOptions, h config.Host, line *observe.Line) *update {
	return &update{job: job{p: p, o: o, host: h, line: line, kind: run.KindUpdate, command: next.Target("update", h.Name)}, pre: pre}
}

func (u *update) run(ctx context.Context) Result {
	q := u.pre.keyQuery(u.host.KnownOutput())
	q.Manifest = true
	return u.job.run(ctx, q, u.decide)
}

// decide compares what the server said with what is to be deployed.
func (u *update) decide(ctx context.Context, s *run.Session, facts run.Facts, r *Result) {
	if err := refuseHost(u.host, facts); err != nil {
		r.failed(u.p.unfinished(u.host, err))
		return
	}
	if u.ours(facts.Holder) {
		u.resume(ctx, s, facts.Holder, r)
		return
	}
	if err := refuseBusy(u.host, facts); err != nil {
		r.failed(err)
		return
	}
	if u.nothingToDo(facts) {
		u.note(ctx, s, facts, r)
		return
	}
	facts, err := u.adopt(ctx, facts)
	if err != nil {
		r.failed(err)
		return
	}
	if err := refuseLacking(u.host, facts, run.KindUpdate); err != nil {
		r.failed(err)
		return
	}
	if err := u.p.refuseUpdate(ctx, u.host, u.pre, facts, u.o.Force); err != nil {
		r.failed(err)
		return
	}
	u.send(ctx, s, facts, r)
}

// ours: the same person deploys the same tree, after a lost connection or Ctrl-C.
func (u *update) ours(h *run.Holder) bool {
	return h != nil && h.Kind == string(run.KindUpdate) && h.Digest == u.pre.digest && h.Who == u.p.Who &&
		h.From == u.p.From && h.Action == string(u.o.Action)
}

// nothingToDo: the tree is there, committed, and the running system is the one
// built from it, be it by us or by the server's own upgrade. What decides what is
// built is the tree and the flake output: a record that does not name the output
// leaves it open whether it was this one.
func (u *update) nothingToDo(f run.Facts) bool {
	if f.Record == nil || f.Record.Digest != u.pre.digest || digestOf(f) != u.pre.digest {
		return false
	}
	if f.Record.Output != output(u.host, f) || f.Intent != "" || len(f.Open) > 0 {
		return false
	}
	committed := f.Profile == f.Record.System || f.Generation > f.Record.Generation
	switch u.o.Action {
	case ActionSwitch:
		return committed && f.Current == f.Profile
	case ActionBoot:
		return committed
	}
	return false
}

// note ends an update that has nothing to do. The tree may be that of another commit
// by now, which the record shall name: the next laptop compares with it. That it
// could not be noted is no failure of the update.
func (u *update) note(ctx context.Context, s *run.Session, f run.Facts, r *Result) {
	r.Outcome = OutcomeNothing
	if u.pre.git.Commit == f.Record.Commit && u.pre.git.Dirty == f.Record.Dirty {
		return
	}
	record := run.Record{Digest: u.pre.digest, Commit: u.pre.git.Commit, Dirty: u.pre.git.Dirty, Who: u.p.Who, From: u.p.From}
	u.line.Phase("recording commit " + short(record.Commit))
	if err := s.Note(ctx, record); err != nil {
		u.p.log.Warn("%s: %v", u.host.Name, err)
	}
}

// send ships the difference and follows the run to its end.
func (u *update) send(ctx context.Context, s *run.Session, facts run.Facts, r *Result) {
	old, err := manifestOf(facts)
	if err != nil {
		r.failed(&Failure{Host: u.host.Name, Code: CodeFailed, Err: err, Now: asItWas})
		return
	}
	diff := tree.Diff(old, u.pre.tree.Manifest())
	if err := u.confirmSecrets(ctx, u.link, diff, facts); err != nil {
		r.failed(err)
		return
	}
	u.line.Phase("sending " + diff.Summary())
	request := u.request(facts)
	request.Kind, request.Output, request.Digest = run.KindUpdate, output(u.host, facts), u.pre.digest
	request.Commit, request.Dirty = u.pre.git.Commit, u.pre.git.Dirty
	u.begin(ctx, s, facts, run.Parcel{
		Request: request,
		Tree:    u.pre.tree,
		Diff:    diff,
		Secrets: u.pre.declaredPaths(request.Output),
	}, u.ours, r)
}

// manifestOf reads the listing of /etc/nixos. A folder that cannot be listed, or
// is not there, is replaced as a whole: nothing of it is built upon.
func manifestOf(f run.Facts) (tree.Manifest, error) {
	if f.Manifest == "odd\n" || f.Manifest == "missing\n" {
		return tree.Manifest{}, nil
	}
	return tree.ParseManifest(strings.NewReader(f.Manifest), tree.Limits{})
}
