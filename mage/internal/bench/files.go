package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

const thousand = 1000

// thousandFiles holds that the number of files costs no round trips, and that
// sending them for the first time takes no longer than with rsync.
func (b *bench) thousandFiles(ctx context.Context) error {
	p, err := newPair(1)
	if err != nil {
		return err
	}
	defer p.close()
	var few, first, many, theirFew, theirFirst, theirMany samples
	for i := range b.tries(3) + 1 {
		// The first of them sends the project itself.
		if err := both(ctx, p, fmt.Sprint("few", i), &few, &theirFew); err != nil {
			return err
		}
	}
	for i := range b.tries(3) {
		if err := p.each(func(w *world) error { return w.manyFiles(i, thousand) }); err != nil {
			return err
		}
		if err := both(ctx, p, fmt.Sprint("first", i), &first, &theirFirst); err != nil {
			return err
		}
		if err := both(ctx, p, fmt.Sprint("many", i), &many, &theirMany); err != nil {
			return err
		}
	}
	sync := beside("first sync of all, until the build starts", first.untilBuild, theirFirst.untilBuild, 1)
	b.table.add(fmt.Sprintf("%d small files, round-trip time %v", thousand, far), sync,
		atMost("round trips, one of them changed, until the build starts", least(many.toBuild), least(theirMany.toBuild), least(few.toBuild)+2),
		beside("one of them changed, until the build starts", many.untilBuild, theirMany.untilBuild, 0))
	return nil
}

// both changes a file and deploys it from afar, our way and theirs.
func both(ctx context.Context, p *pair, text string, ours, theirs *samples) error {
	if err := p.change(text); err != nil {
		return err
	}
	if err := ours.ourRun(ctx, p.ours, far, "updated"); err != nil {
		return err
	}
	return theirs.theirRun(ctx, p.theirs, far)
}

// manyFiles replaces the small files of the project by so many others.
func (w *world) manyFiles(generation, n int) error {
	if err := os.RemoveAll(w.file("nix/many")); err != nil {
		return err
	}
	for i := range n {
		name := fmt.Sprintf("nix/many/%d/%02d/%d.nix", generation, i%20, i)
		if err := w.write(name, fmt.Sprintf("{ value = %d; made = %q; }\n", i, time.Now())); err != nil {
			return err
		}
	}
	return w.commit()
}
