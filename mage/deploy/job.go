package deploy

import (
	"context"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
)

// job is one run on one host: what update and rollback share.
type job struct {
	p       *Project
	o       UpdateOptions
	host    config.Host
	line    *observe.Line
	kind    run.Kind
	command next.Step // that makes it, for a person to repeat
	link    *link
}

// run logs in, asks for the facts, and has the rest decided on the same session.
func (j *job) run(ctx context.Context, q run.FactsQuery, decide func(context.Context, *run.Session, run.Facts, *Result)) Result {
	r := Result{Host: j.host.Name}
	j.line.Phase("connecting")
	l, err := j.p.connect(ctx, j.host)
	if err != nil {
		r.failed(err)
		return r
	}
	defer l.Close()
	j.link = l
	s, facts, err := l.open(ctx, q)
	if err != nil {
		r.failed(err)
		return r
	}
	defer s.Stop()
	l.session = s
	r.Before, r.After = facts.Generation, facts.Generation
	decide(ctx, s, facts, &r)
	return r
}

// request is what every run is asked for.
func (j *job) request(f run.Facts) run.Request {
	return run.Request{
		ID:        run.NewID(time.Now()),
		Action:    j.o.Action,
		Base:      digestOf(f),
		Deadlines: j.o.deadlines(),
		Who:       j.p.Who,
		From:      j.p.From,
		Since:     time.Now(),
	}
}

func (o UpdateOptions) deadlines() run.Deadlines {
	return run.Deadlines{Confirm: o.Confirm, Switch: o.SwitchTimeout, Settle: o.Settle}
}

func (j *job) follower(id string) *run.Follower {
	return run.NewFollower(&j.link.Link, id, j.o.Action, j.o.deadlines(), j.line)
}

// begin starts a run and follows it to its end.
func (j *job) begin(ctx context.Context, s *run.Session, facts run.Facts, parcel run.Parcel, ours func(*run.Holder) bool, r *Result) {
	f := j.follower(parcel.Request.ID)
	f.Known = facts.Lacks
	end, err := f.Begin(ctx, s, parcel)
	f, end, err = f.Instead(ctx, end, err, ours)
	j.conclude(f, end, err, r)
}

// resume follows a run that is under way.
func (j *job) resume(ctx context.Context, s *run.Session, h *run.Holder, r *Result) {
	j.line.Phase("taking up run " + h.ID)
	f := j.follower("").Of(h)
	end, err := f.Resume(ctx, s)
	j.conclude(f, end, err, r)
}

// conclude turns the end of following a run into the result of the host.
func (j *job) conclude(f *run.Follower, end run.Status, err error, r *Result) {
	if err != nil {
		j.give(r, f, err)
		return
	}
	r.conclude(j.host.Name, j.command, end)
	if r.Err == nil {
		j.arrived(f)
		if j.kind == run.KindRollback {
			r.Result = "rolled back as asked"
			if j.o.Action == run.ActionBoot {
				r.Result = "rolled back for the next boot"
			}
		}
	}
}

// arrived notes where the new system let us in: the next run begins there.
func (j *job) arrived(f *run.Follower) {
	if port := f.Port(); port != 0 {
		j.p.rememberPort(j.host, port)
		return
	}
	j.p.rememberPort(j.host, j.link.At())
}
