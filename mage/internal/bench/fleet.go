package main

import (
	"context"
	"fmt"
	"time"
)

const (
	fleetSize = 50
	fleetRTT  = 20 * time.Millisecond
	// fleetMemory is what a run for the whole fleet may take, in bytes.
	fleetMemory = 150_000_000
)

// fleet compares runs on many hosts at once.
func (b *bench) fleet(ctx context.Context) error {
	size := fleetSize
	if b.quick {
		size = 10
	}
	p, err := newPair(size)
	if err != nil {
		return err
	}
	defer p.close()
	var ours, change, theirs, theirChange fleetSamples
	if err := ours.update(ctx, p.ours, "updated"); err != nil {
		return err
	}
	ours = fleetSamples{}
	if err := theirs.scripts(ctx, p.theirs); err != nil {
		return err
	}
	theirs = fleetSamples{}
	for i := range b.tries(5) {
		b.note("  round %d", i+1)
		if err := ours.update(ctx, p.ours, "nothing to do"); err != nil {
			return err
		}
		if err := theirs.scripts(ctx, p.theirs); err != nil {
			return err
		}
		if err := p.change(fmt.Sprint(i)); err != nil {
			return err
		}
		if err := change.update(ctx, p.ours, "updated"); err != nil {
			return err
		}
		if err := theirChange.scripts(ctx, p.theirs); err != nil {
			return err
		}
	}
	peak := max(ours.peak, change.peak)
	b.table.add(fmt.Sprintf("%d hosts at once, round-trip time %v", size, fleetRTT),
		beside("nothing to do", ours.took, theirs.took, 0.33),
		beside("one file changed, all of it, with the confirmation", change.took, theirChange.took, 0.66),
		row{name: "memory at the most", ours: megabytes(peak), budget: "< " + megabytes(int64(fleetMemory)), holds: peak < fleetMemory})
	return nil
}

// fleetSamples are the figures of one kind of run.
type fleetSamples struct {
	took []time.Duration
	peak int64
}

func (s *fleetSamples) update(ctx context.Context, w *world, result string) error {
	w.far(fleetRTT)
	r, err := w.updateAll(ctx, result)
	s.took, s.peak = append(s.took, r.took()), max(s.peak, r.Peak)
	return err
}

func (s *fleetSamples) scripts(ctx context.Context, w *world) error {
	w.far(fleetRTT)
	took, err := w.scripts(ctx)
	s.took = append(s.took, took)
	return err
}
