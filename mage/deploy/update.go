package deploy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/tree"
)

// UpdateOptions are the flags of update.
type UpdateOptions struct {
	Action        run.Action
	Confirm       time.Duration // how long a switched system waits to be confirmed; 0: no watchdog
	SwitchTimeout time.Duration // how long the switch itself may take
	Settle        time.Duration // how long units are watched before confirming
	Force         bool          // deploy over commits this checkout lacks, and older nixpkgs
	Parallel      int           // hosts at a time
	Yes           bool          // login keys that the secrets add are confirmed beforehand
}

// DefaultUpdate are the options of a plain update.
func DefaultUpdate() UpdateOptions {
	return UpdateOptions{
		Action:        run.ActionSwitch,
		Confirm:       60 * time.Second,
		SwitchTimeout: 10 * time.Minute,
		Settle:        5 * time.Second,
		Parallel:      8,
	}
}

func (o UpdateOptions) check() error {
	if _, err := run.ParseAction(string(o.Action)); err != nil {
		return err
	}
	switch {
	case o.Parallel < 1:
		return fmt.Errorf("-parallel=%d: at least one host at a time", o.Parallel)
	case o.Confirm < 0 || o.Settle < 0:
		return fmt.Errorf("-confirm and -settle cannot be negative")
	case o.SwitchTimeout < time.Second:
		return fmt.Errorf("-switchtimeout=%v: a switch takes at least a second", o.SwitchTimeout)
	case o.Confirm > 0 && o.Settle >= o.Confirm:
		return fmt.Errorf("-settle=%v leaves no time to confirm within -confirm=%v", o.Settle, o.Confirm)
	}
	return nil
}

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
	p.warn(pre, o)
	results := p.fleet(ctx, list, o.Parallel, func(ctx context.Context, h config.Host, line *observe.Line) Result {
		u := &update{p: p, pre: pre, o: o, host: h, line: line}
		return u.run(ctx)
	})
	return results, summary(results)
}

func (p *Project) warn(pre *prepared, o UpdateOptions) {
	for _, w := range pre.warning {
		p.log.Warn("%s", w)
	}
	if o.Confirm == 0 && o.Action.Activates() {
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
	p    *Project
	pre  *prepared
	o    UpdateOptions
	host config.Host
	line *observe.Line
}

func (u *update) run(ctx context.Context) Result {
	r := Result{Host: u.host.Name}
	u.line.Phase("connecting")
	l, err := u.p.connect(ctx, u.host)
	if err != nil {
		r.failed(err)
		return r
	}
	defer func() { l.close() }()
	l.prepare(ctx, 1)
	s, facts, err := l.factsFirst(ctx, run.FactsQuery{AgeKey: u.pre.ageKeyPath(u.host.KnownOutput()), Manifest: true})
	if err != nil {
		r.failed(err)
		return r
	}
	defer s.stop()
	r.Before, r.After = facts.Generation, facts.Generation
	u.decide(ctx, l, s, facts, &r)
	return r
}

// decide compares what the server said with what is to be deployed.
func (u *update) decide(ctx context.Context, l *link, s *sight, facts run.Facts, r *Result) {
	if err := refuseHost(u.host, facts); err != nil {
		r.failed(err)
		return
	}
	if facts.Holder != nil && u.ours(facts.Holder) {
		u.line.Phase("taking up run " + facts.Holder.ID)
		s.stop()
		f := u.follower(l, "").of(facts.Holder)
		end, err := f.follow(ctx)
		u.conclude(f, end, err, r)
		return
	}
	if err := refuseBusy(u.host, facts); err != nil {
		r.failed(err)
		return
	}
	if u.nothingToDo(facts) {
		r.Result = resultWord(CodeDone)
		return
	}
	if err := u.p.refuseUpdate(ctx, u.host, u.pre, facts, u.o.Force); err != nil {
		r.failed(err)
		return
	}
	u.send(ctx, l, s, facts, r)
}

// ours: the same person deploys the same tree, after a lost connection or Ctrl-C.
func (u *update) ours(h *run.Holder) bool {
	return h.Kind == string(run.KindUpdate) && h.Digest == u.pre.digest && h.Who == u.p.Who &&
		h.From == u.p.From && h.Action == string(u.o.Action)
}

// nothingToDo: the tree is there, committed, and the running system is the one
// built from it, be it by us or by the server's own upgrade.
func (u *update) nothingToDo(f run.Facts) bool {
	if f.Record == nil || f.Record.Digest != u.pre.digest || digestOf(f) != u.pre.digest {
		return false
	}
	if f.Intent != "" || len(f.Open) > 0 {
		return false
	}
	committed := f.Profile == f.Record.System || f.Generation > f.Record.Generation
	switch u.o.Action {
	case run.ActionSwitch:
		return committed && f.Current == f.Profile
	case run.ActionBoot:
		return committed
	}
	return false
}

// send ships the difference and follows the run to its end.
func (u *update) send(ctx context.Context, l *link, s *sight, facts run.Facts, r *Result) {
	old, err := manifestOf(facts)
	if err != nil {
		r.failed(&Failure{Host: u.host.Name, Code: CodeFailed, Err: err, Now: asItWas})
		return
	}
	diff := tree.Diff(old, u.pre.tree.Manifest())
	if err := u.confirmSecrets(ctx, l, diff, facts); err != nil {
		r.failed(err)
		return
	}
	u.line.Phase("sending " + diff.Summary())
	f := u.follower(l, newID(time.Now()))
	end, err := f.begin(ctx, s, parcel{
		request: u.request(f.id, facts),
		tree:    u.pre.tree,
		diff:    diff,
		secrets: u.pre.declaredPaths(output(u.host, facts)),
	})
	f, end, err = f.instead(ctx, end, err, u.ours)
	u.conclude(f, end, err, r)
}

func (u *update) request(id string, facts run.Facts) run.Request {
	return run.Request{
		ID:            id,
		Kind:          run.KindUpdate,
		Action:        u.o.Action,
		Output:        output(u.host, facts),
		Digest:        u.pre.digest,
		Base:          digestOf(facts),
		Confirm:       u.o.Confirm,
		SwitchTimeout: u.o.SwitchTimeout,
		Who:           u.p.Who,
		From:          u.p.From,
		Since:         time.Now(),
		Commit:        u.pre.git.Commit,
		Dirty:         u.pre.git.Dirty,
	}
}

func (u *update) follower(l *link, id string) *follower {
	return &follower{link: l, id: id, line: u.line, action: u.o.Action,
		confirm: u.o.Confirm, limit: u.o.SwitchTimeout, settle: u.o.Settle}
}

func (u *update) conclude(f *follower, end run.Status, err error, r *Result) {
	command := next.Target("update", u.host.Name)
	if err != nil {
		f.give(r, command, err)
		return
	}
	r.conclude(u.host.Name, command, end)
	if r.Err == nil {
		u.p.rememberPort(u.host, u.host.Port)
	}
}

// manifestOf reads the listing of /etc/nixos. A folder that cannot be listed, or
// is not there, is replaced as a whole: nothing of it is built upon.
func manifestOf(f run.Facts) (tree.Manifest, error) {
	if f.Manifest == "odd\n" || f.Manifest == "missing\n" {
		return tree.Manifest{}, nil
	}
	return tree.ParseManifest(strings.NewReader(f.Manifest), tree.Limits{})
}
