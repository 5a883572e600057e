package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// holdUp is the longest that a sleep or a poll of ours may hold up a run.
const holdUp = 200 * time.Millisecond

// waiting measures how long a run that is ready waits for its next step, at the
// places where something of ours waits for something else of ours. The link has no
// delay; what the steps themselves take is in the figures, so they are too high
// rather than too low.
func (b *bench) waiting(ctx context.Context) error {
	w, err := newWorld(inMemory(), 1, newHost)
	if err != nil {
		return err
	}
	defer w.close()
	var gaps gaps
	for i := range b.tries(10) {
		if err := w.write("nix/changed.nix", fmt.Sprintf("# %d\n", i)); err != nil {
			return err
		}
		w.far(0)
		r, err := w.updateAll(ctx, "updated")
		if err != nil {
			return err
		}
		if err := gaps.measure(w.hosts[0], r); err != nil {
			return err
		}
	}
	b.table.add("our own waiting, median and longest of "+fmt.Sprint(len(gaps.login)),
		gapRow("switch ended, until the new login begins", gaps.login),
		gapRow("confirmed, until the server commits", gaps.commit),
		gapRow("the run's end, until the laptop tells it", gaps.end))
	return nil
}

type gaps struct{ login, commit, end []time.Duration }

// measure reads the times of the files that a run leaves.
func (g *gaps) measure(h *host, r report) error {
	runs, err := filepath.Glob(h.played.Path("var/lib/vps/runs/*"))
	if err != nil || len(runs) == 0 {
		return errors.Join(err, errors.New("the run left no folder"))
	}
	newest := slices.Max(runs)
	at := map[string]time.Time{}
	for _, name := range []string{"switched", "confirmed", "decision", "ended"} {
		info, err := os.Stat(filepath.Join(newest, name))
		if err != nil {
			return err
		}
		at[name] = info.ModTime()
	}
	logins := h.proxy.Opened()
	if len(logins) < 2 {
		return fmt.Errorf("%d logins in a run that was confirmed", len(logins))
	}
	g.login = append(g.login, logins[1].Sub(at["switched"]))
	g.commit = append(g.commit, at["decision"].Sub(at["confirmed"]))
	g.end = append(g.end, r.Ended.Sub(at["ended"]))
	return nil
}

func gapRow(name string, gaps []time.Duration) row {
	longest := slices.Max(gaps)
	return row{name: name, ours: fmt.Sprintf("%d ms", median(gaps).Milliseconds()), figure: fmt.Sprintf("%d ms", longest.Milliseconds()),
		budget: fmt.Sprintf("<= %d ms", holdUp.Milliseconds()), holds: longest <= holdUp}
}
