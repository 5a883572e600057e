package main

import (
	"context"
	"fmt"
	"time"
)

// pair is a server of ours and one of the scripts', each with its project.
type pair struct{ ours, theirs *world }

func newPair(servers int) (*pair, error) {
	p := &pair{}
	var err error
	if p.ours, err = newWorld(inMemory(), servers, newHost); err != nil {
		return nil, err
	}
	if p.theirs, err = newWorld(inMemory(), servers, newHost); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pair) close() {
	for _, w := range []*world{p.ours, p.theirs} {
		if w != nil {
			_ = w.close()
		}
	}
}

// each does the same to both projects.
func (p *pair) each(do func(*world) error) error {
	if err := do(p.ours); err != nil {
		return err
	}
	return do(p.theirs)
}

// change makes one file of both projects another one.
func (p *pair) change(text string) error {
	return p.each(func(w *world) error {
		if err := w.write("nix/changed.nix", "# "+text+"\n"); err != nil {
			return err
		}
		return w.commit()
	})
}

// samples are the figures of one kind of run on one host.
type samples struct {
	whole, untilBuild []time.Duration
	trips, toBuild    []int
}

// ourRun updates the host of a world and notes what that took.
func (s *samples) ourRun(ctx context.Context, w *world, rtt time.Duration, result string) error {
	w.far(rtt)
	r, err := w.updateAll(ctx, result)
	if err != nil {
		return err
	}
	s.whole = append(s.whole, r.took())
	s.note(w.hosts[0], r.Began)
	return nil
}

// theirRun does what the scripts did.
func (s *samples) theirRun(ctx context.Context, w *world, rtt time.Duration) error {
	w.far(rtt)
	began := time.Now()
	took, err := w.scripts(ctx)
	s.whole = append(s.whole, took)
	s.note(w.hosts[0], began)
	return err
}

func (s *samples) note(h *host, began time.Time) {
	meter := h.proxy.Meter()
	s.trips = append(s.trips, meter.RoundTrips())
	// A run with nothing to do builds nothing.
	if build, err := h.buildBegan(); err == nil && build.After(began) {
		s.untilBuild = append(s.untilBuild, build.Sub(began))
		s.toBuild = append(s.toBuild, meter.Before(build))
	}
}

// least is the right one of several counts, of which none is too low.
func least(counts []int) int {
	smallest := 0
	for i, n := range counts {
		if i == 0 || n < smallest {
			smallest = n
		}
	}
	return smallest
}

const far = 100 * time.Millisecond

// oneHost compares runs on one host at several distances.
func (b *bench) oneHost(ctx context.Context) error {
	p, err := newPair(1)
	if err != nil {
		return err
	}
	defer p.close()
	var first samples
	if err := first.ourRun(ctx, p.ours, 0, "updated"); err != nil {
		return err
	}
	if err := first.theirRun(ctx, p.theirs, 0); err != nil {
		return err
	}
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond, far} {
		b.note("  round-trip time %v", rtt)
		if err := b.oneDistance(ctx, p, rtt); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) oneDistance(ctx context.Context, p *pair, rtt time.Duration) error {
	var nothing, change, theirNothing, theirChange samples
	for i := range b.tries(5) {
		if err := nothing.ourRun(ctx, p.ours, rtt, "nothing to do"); err != nil {
			return err
		}
		if err := theirNothing.theirRun(ctx, p.theirs, rtt); err != nil {
			return err
		}
		if err := p.change(fmt.Sprint(rtt, i)); err != nil {
			return err
		}
		if err := change.ourRun(ctx, p.ours, rtt, "updated"); err != nil {
			return err
		}
		if err := theirChange.theirRun(ctx, p.theirs, rtt); err != nil {
			return err
		}
	}
	budget := func(ratio float64) float64 {
		if rtt == far {
			return ratio
		}
		return 0
	}
	rows := []row{
		beside("nothing to do", nothing.whole, theirNothing.whole, budget(0.45)),
		beside("one file changed, until the build starts", change.untilBuild, theirChange.untilBuild, budget(0.65)),
		beside("one file changed, all of it, with the confirmation", change.whole, theirChange.whole, 0),
	}
	if rtt == far {
		rows = append(rows,
			atMost("round trips, nothing to do", least(nothing.trips), least(theirNothing.trips), 10),
			atMost("round trips, one file changed, until the build starts", least(change.toBuild), least(theirChange.toBuild), 15))
	}
	b.table.add(fmt.Sprintf("one host, round-trip time %v", rtt), rows...)
	return nil
}
