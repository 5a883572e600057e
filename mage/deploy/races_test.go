package deploy

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	raceArea = "races"
	crowd    = 20
)

// laptops are so many people with a tree each, and one server that all know.
func laptops(t *testing.T, n int, options ...vpstest.Option) ([]*fixture, *vpstest.Server) {
	list := make([]*fixture, n)
	for i := range list {
		list[i] = newFixture(t)
		list[i].Who, list[i].From = fmt.Sprintf("person-%d", i), fmt.Sprintf("desk-%d", i)
		list[i].write("whose.nix", fmt.Sprint(i))
	}
	s := list[0].server("web", options...)
	for _, f := range list[1:] {
		f.hosts["web"], f.order = list[0].hosts["web"], list[0].order
	}
	return list, s
}

// together lets all of them update at the same moment, and tells each end.
func together(list []*fixture, ended func(i int, r Result, err error)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for i, f := range list {
		all.Go(func() {
			<-start
			r, err := f.update("web", quick())
			ended(i, r, err)
		})
	}
	close(start)
	all.Wait()
}

// Of twenty updates at once one runs. While it builds, all others end by
// themselves and say whose it is.
func TestFaultsTwentyUpdatesAtOnce(t *testing.T) {
	faults.Asked(t)
	t.Parallel()
	building, others := make(chan struct{}, crowd), make(chan struct{})
	list, s := laptops(t, crowd, vpstest.WithHook(func(_ *vpstest.Server, c vpstest.Call) {
		if c.Program == "nixos-rebuild" {
			building <- struct{}{}
			<-others
		}
	}))
	before := runsOf(s)
	results, errs := make([]Result, crowd), make([]error, crowd)
	var done atomic.Int32
	began := time.Now()
	var took time.Duration // until the last of those who lost knew

	together(list, func(i int, r Result, err error) {
		results[i], errs[i] = r, err
		if done.Add(1) == crowd-1 {
			took = time.Since(began)
			close(others)
		}
	})

	winner := slices.IndexFunc(errs, func(err error) bool { return err == nil })
	require.GreaterOrEqual(t, winner, 0, "nobody won: %v", errs)
	assert.Equal(t, OutcomeUpdated, results[winner].Outcome)
	assert.Len(t, building, 1, "one run built")
	survived := 1
	for i, err := range errs {
		if i == winner {
			continue
		}
		if assert.Equal(t, CodeBusy, codeOf(err), "%d: %v", i, err) && assert.ErrorContains(t, err, list[winner].Who) {
			survived++
		}
	}
	assertIs(t, s, list[winner])
	assert.Equal(t, []int{1, 2}, s.Generations())
	assert.Greater(t, runsOf(s), before)
	faults.Report(t, faults.Row{Area: raceArea, Case: "20 updates at once, the first building", Injected: crowd, Survived: survived,
		Detail: fmt.Sprintf("1 updated, %d got exit 7 within %.1f s", survived-1, took.Seconds())})
}

func runsOf(s *vpstest.Server) int { return len(s.Runs()) }

// assertIs: the server is wholly as f deployed it.
func assertIs(t *testing.T, s *vpstest.Server, f *fixture) {
	t.Helper()
	want, err := tree.Collect(t.Context(), f.Dir)
	require.NoError(t, err)
	assert.Equal(t, want.Manifest().Digest(), s.TreeDigest(), "/etc/nixos")
	assert.Equal(t, s.TreeDigest(), s.Record()["digest"], "the record")
	assert.Equal(t, f.Who, s.Record()["who"], "the record")
	assert.Equal(t, s.CurrentSystem(), s.BootDefault())
	assert.Equal(t, s.CurrentSystem(), s.Record()["system"])
	assert.Empty(t, s.Intent())
}

// Nobody waits for anybody here: who comes late finds the server free again, or
// /etc/nixos changed since it was compared. Whoever was told of success was the
// last one, or another success came after it.
func TestFaultsUpdatesThatOvertakeEachOther(t *testing.T) {
	faults.Asked(t)
	t.Parallel()
	var running, most atomic.Int32
	list, s := laptops(t, crowd, vpstest.WithHook(func(_ *vpstest.Server, c vpstest.Call) {
		if c.Program == "nixos-rebuild" {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
		}
		if c.Program == "switch-to-configuration" || c.Program == "nix-env" {
			running.Store(0)
		}
	}))
	rounds := faults.Points(t, 1, 2, 10)
	done, survived := 0, 0
	for round := range rounds {
		for i, f := range list {
			f.write("round.nix", fmt.Sprint(round, i))
		}
		var mu sync.Mutex
		updated := map[string]bool{}
		together(list, func(i int, r Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			done++
			code := codeOf(err)
			if assert.Contains(t, []Code{CodeDone, CodeBusy, CodeFailed}, code, "%d: %v", i, err) {
				survived++
			}
			if code == CodeFailed {
				assert.ErrorContains(t, err, "changed", "only an overtaken update fails")
			}
			if code == CodeDone {
				updated[list[i].Who] = true
			}
		})
		require.True(t, s.WaitIdle(30*time.Second))
		require.True(t, updated[s.Record()["who"]], "the last success is what is there: %v", s.Record())
		last := slices.IndexFunc(list, func(f *fixture) bool { return f.Who == s.Record()["who"] })
		assertIs(t, s, list[last])
	}
	assert.LessOrEqual(t, most.Load(), int32(1), "builds side by side")
	faults.Report(t, faults.Row{Area: raceArea, Case: "20 updates at once, nobody waits", Injected: done, Survived: survived,
		Detail: fmt.Sprintf("%d generations", len(s.Generations())-1)})
}

// The server's own nightly upgrade, before we ask and while we send.
func TestFaultsUpdateMeetsTheNightlyUpgrade(t *testing.T) {
	t.Parallel()
	const service = "nixos-upgrade.service"
	for _, c := range []struct {
		name string
		when func(vpstest.Call) bool
	}{
		{"before", nil},
		{"between the look and the lock", func(c vpstest.Call) bool { return c.Program == "systemd-run" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := f.server("web", vpstest.WithHook(func(s *vpstest.Server, call vpstest.Call) {
				if c.when != nil && c.when(call) {
					s.SetUnit("", service, "activating")
				}
			}))
			if c.when == nil {
				s.SetUnit("", service, "activating")
			}
			was, digest := s.CurrentSystem(), s.TreeDigest()

			_, err := f.update("web", quick())

			assert.Equal(t, CodeBusy, codeOf(err), "%v", err)
			assert.ErrorContains(t, err, "nixos-upgrade")
			assert.Equal(t, was, s.CurrentSystem())
			assert.Equal(t, digest, s.TreeDigest())
			_, err = f.Rollback(t.Context(), "web", back(1))
			assert.Equal(t, CodeBusy, codeOf(err), "rollback: %v", err)
			row := faults.Row{Area: raceArea, Case: "the nightly upgrade runs: " + c.name, Injected: 2, Detail: "exit 7"}
			if !t.Failed() {
				row.Survived = 2
			}
			faults.Report(t, row)
		})
	}
}

// Two laptops, each with a history of its own: each is told that it would
// replace a commit that it does not have, until one insists.
func TestFaultsTwoLaptopsWithTwoHistories(t *testing.T) {
	faults.Asked(t)
	t.Parallel()
	list, s := laptops(t, 2)
	for _, f := range list {
		f.git("init", "-q")
		f.git("add", ".")
		f.git("commit", "-qm", f.Who)
	}
	one, two := list[0], list[1]
	one.mustUpdate("web")

	_, err := two.update("web", quick())

	assert.Equal(t, CodeFailed, codeOf(err), "%v", err)
	assert.ErrorContains(t, err, "does not contain")
	assert.ErrorContains(t, err, "person-0")
	var fail *Failure
	require.ErrorAs(t, err, &fail)
	assert.Contains(t, fail.NextStep().String(), "-force")
	assertIs(t, s, one)
	o := quick()
	o.Force = true
	_, err = two.update("web", o)
	require.NoError(t, err)
	assertIs(t, s, two)
	one.write("x.nix", "1")
	_, err = one.update("web", quick())
	assert.Equal(t, CodeFailed, codeOf(err), "%v", err)
	assertIs(t, s, two)
	row := faults.Row{Area: raceArea, Case: "two laptops with two histories", Injected: 3, Detail: "exit 1 without -force"}
	if !t.Failed() {
		row.Survived = 3
	}
	faults.Report(t, row)
}
