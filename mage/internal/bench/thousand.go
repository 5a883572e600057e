package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
)

const (
	manyHosts    = 1000
	manyParallel = 64
)

// thousandHosts holds that a run for very many hosts ends, with all results, and
// needs no more memory than its first hosts did.
func (b *bench) thousandHosts(ctx context.Context) error {
	size := manyHosts
	if b.quick {
		size = 3 * manyParallel
	}
	w, err := newWorld(os.TempDir(), size, newSimulated)
	if err != nil {
		return err
	}
	defer w.close()
	b.note("  %d servers run", size)
	var rows []row
	for _, c := range []struct{ name, result string }{
		{"first sync, with its confirmation", "updated"}, {"nothing to do", "nothing to do"},
	} {
		r, err := w.update(ctx, order{Hosts: "all", Parallel: manyParallel, Action: deploy.ActionSwitch, Heap: true})
		if err != nil {
			return err
		}
		rows = append(rows, r.ofMany(c.name, c.result, size)...)
	}
	b.table.add(fmt.Sprintf("%d simulated hosts, -parallel=%d", size, manyParallel), rows...)
	return nil
}

// ofMany judges a run for very many hosts.
func (r report) ofMany(name, result string, size int) []row {
	complete := 0
	for _, o := range r.Results {
		if o.Result == result {
			complete++
		}
	}
	first, rest := r.heaps(2 * manyParallel)
	return []row{
		{name: name + ": results", ours: fmt.Sprint(complete), budget: fmt.Sprintf("all %d", size), holds: complete == size},
		{name: name + ": time", ours: seconds(r.took()), figure: fmt.Sprintf("%d ms a host", (r.took() / time.Duration(size)).Milliseconds())},
		{name: name + ": heap, while the first hosts end", ours: megabytes(first), figure: megabytes(r.Peak) + " of memory"},
		{name: name + ": heap afterwards, at the most", ours: megabytes(rest), budget: "<= 1.25 x", holds: rest <= first*5/4,
			figure: fmt.Sprintf("%.2f x", float64(rest)/float64(max(first, 1)))},
	}
}

// heaps gives the largest heap until so many hosts had ended, and the largest
// after that.
func (r report) heaps(early int) (first, rest uint64) {
	for _, h := range r.Heaps {
		if h.Ended <= early {
			first = max(first, h.Bytes)
		} else {
			rest = max(rest, h.Bytes)
		}
	}
	return first, rest
}
