package deploy

import (
	"context"
	"errors"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// job is one run on one host: what update and rollback share.
type job struct {
	p       *Project
	o       UpdateOptions
	host    config.Host
	line    *observe.Line
	kind    run.Kind
	command next.Step // that makes it, for a person to repeat
	many    bool      // other hosts are worked on beside it
	link    *link
	log     *runLog // once a run is followed
	current string  // the system that the server runs
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
	r.Before, r.After, j.current = facts.Generation, facts.Generation, facts.Current
	decide(ctx, s, facts, &r)
	j.tellLog(&r)
	return r
}

// tellLog names the log of a run that failed, and shows its end where other hosts'
// lines hid it.
func (j *job) tellLog(r *Result) {
	if j.log == nil {
		return
	}
	path, last := j.log.end()
	r.Log = path
	var f *Failure
	if !errors.As(r.Err, &f) {
		return
	}
	if j.many && last != "" {
		j.p.log.Info("%s: the end of its log:\n%s", j.host.Name, last)
	}
	if path != "" {
		f.Now += "; its log is kept in " + path
	}
}

// request is what every run is asked for.
func (j *job) request(f run.Facts) run.Request {
	return run.Request{
		ID:        run.NewID(time.Now()),
		Action:    j.o.Action.onServer(),
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

// follower follows a run, and keeps its log.
func (j *job) follower(id string) *run.Follower {
	j.log = j.p.logRun(j.host, j.line)
	f := run.NewFollower(&j.link.Link, id, j.o.Action.onServer(), j.o.deadlines(), j.log)
	if healthy := j.o.Healthy; healthy != nil {
		f.Healthy = func(ctx context.Context, conn run.Conn) error {
			return healthy(ctx, conn.(*remote.Client)) // as linkTo logs in
		}
	}
	return f
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
	r.unhealthy(end, f.Unhealthy())
	if r.Err == nil {
		j.arrived(f)
		r.Outcome = j.outcome(end, r.Outcome)
	}
}

// outcome is that of a run that went well: of one for the next boot, what runs until
// then is another system, unless nothing but the tree is new.
func (j *job) outcome(end run.Status, of Outcome) Outcome {
	waits := j.o.Action == ActionBoot && end.Fields[run.FieldSystem] != j.current
	switch {
	case j.kind == run.KindRollback && waits:
		return OutcomeBackAtBoot
	case j.kind == run.KindRollback:
		return OutcomeBack
	case of == OutcomeUpdated && waits:
		return OutcomeNextBoot
	}
	return of
}

// arrived notes where the new system let us in: the next run begins there.
func (j *job) arrived(f *run.Follower) {
	port := f.Port()
	if port == 0 {
		port = j.link.At()
	}
	if port != j.host.Port && j.p.loadState(j.host).Port != port {
		j.p.log.Warn("%s: the new system answers on port %d: write \"port: %d\" for it in vps.yaml; until then it is found by .vps/, on this machine only",
			j.host.Name, port, port)
	}
	j.p.rememberPort(j.host, port)
}
