package vpstest_test

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
)

// judged updates to a system and gives what a probe says of its units.
func judged(t *testing.T, s *vpstest.Server, system vpstest.System, settle time.Duration) run.Evidence {
	t.Helper()
	id := start(t, dial(t, s), s.NewArchive("run-1", tree(system, "new.nix", "new\n")))
	f := follow(t, dial(t, s), id)
	defer f.close()
	f.until("confirming")
	var e run.Evidence
	for _, line := range probeFor(t, dial(t, s), id, settle, "reject the test is over") {
		_, err := e.Add(line)
		require.NoError(t, err, line)
	}
	f.until("end")
	return e
}

func names(units []run.Unit) []string {
	names := []string{}
	for _, u := range units {
		names = append(names, u.String())
	}
	return names
}

// Only what the new system declares can veto it: a transient unit (podman's health
// check), or one that a user made, would veto every update, also the one that removes it.
func TestOnlyDeclaredUnitsAreJudged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		units         []vpstest.Unit
		settle        time.Duration
		judged, other []string
	}{
		{"declared", []vpstest.Unit{{Name: "web.service"}}, 0, []string{"web.service (failed)"}, nil},
		{"an instance of a declared template", []vpstest.Unit{{Name: "web@.service", After: vpstest.Forever}, {Name: "web@one.service", Foreign: true}}, 0,
			[]string{"web@one.service (failed)"}, nil},
		{"declared, of a user", []vpstest.Unit{{Name: "gateway.service", User: "openclaw"}}, 0, []string{"gateway.service of openclaw (failed)"}, nil},
		{"transient", []vpstest.Unit{{Name: "0123-abc.service", Foreign: true}}, 0, nil, []string{"0123-abc.service (failed)"}},
		{"a user's own", []vpstest.Unit{{Name: "mine.service", User: "openclaw", Foreign: true}}, 0, nil, []string{"mine.service of openclaw (failed)"}},
		{"passed in time", []vpstest.Unit{{Name: "web.service", For: 500 * time.Millisecond}}, 2 * time.Second, nil, nil},
		{"comes in time", []vpstest.Unit{{Name: "late.service", After: 300 * time.Millisecond}}, 2 * time.Second, []string{"late.service (failed)"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithLingering("openclaw"))
			e := judged(t, s, vpstest.System{Units: c.units}, c.settle)
			assert.ElementsMatch(t, c.judged, names(e.Units))
			assert.ElementsMatch(t, c.other, names(e.Others))
			assert.Equal(t, len(c.judged) == 0, e.Verdict() == "", e.Verdict())
		})
	}
}

// A unit that fails again and again is well between two failures, too.
func TestRestartLoopIsNotTakenForHealth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after int
		want  []string
	}{{1, []string{}}, {3, []string{"loop.service (restarting)"}}} {
		s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithHook(func(s *vpstest.Server, call vpstest.Call) {
			if call.Program == "systemctl" && slices.Contains(call.Args, "--property=NRestarts") && s.Unit("", "loop.service") == "inactive" {
				s.SetRestarts("loop.service", c.after)
			}
		}))
		e := judged(t, s, vpstest.System{Units: []vpstest.Unit{{Name: "loop.service", State: "auto-restart", For: 500 * time.Millisecond}}}, 2*time.Second)
		assert.Equal(t, c.want, names(e.Units))
	}
}

// A user's manager is that user's program. One that never answers, or that runs on,
// must neither hold up root nor get hold of what is root's.
func TestManagerOfAUserGetsNothingOfOurs(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc")
	}
	s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithLingering("openclaw"), vpstest.WithPrograms(map[string]string{
		"setpriv": "#!/bin/sh\nopen=$(ls -l /proc/$$/fd)\necho \"$open\" >>\"$VPS_ROOT/tmp/open\"\nexec sleep 1000\n",
	}))
	began := time.Now()
	e := judged(t, s, vpstest.System{}, 0)
	assert.Less(t, time.Since(began), patience)
	assert.Empty(t, e.Verdict())
	assert.Equal(t, []string{}, names(e.Others), "it was silent before, too")
	open := s.ReadFile("tmp/open")
	require.Contains(t, open, " 1 -> pipe:", "a program of ours is at the other end")
	for line := range strings.Lines(open) {
		for _, ours := range []string{"/var/lib/vps/", "/etc/", "/run/vps"} {
			assert.NotContains(t, line, " -> "+s.Path(ours), "a descriptor of ours")
		}
	}
}

// What was not known before the switch is no reason to go back after it.
func TestUnansweredBeforeTheSwitchIsUnknown(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithLingering("openclaw"), vpstest.WithPrograms(map[string]string{
		"setpriv": `#!/bin/sh
[ -e "$VPS_ROOT/run/current-system/etc/systemd/user/gateway.service" ] || exit 1
while [ "$1" != env ]; do shift; done
exec "$@"
`,
	}))
	e := judged(t, s, vpstest.System{Units: []vpstest.Unit{{Name: "gateway.service", User: "openclaw"}}}, 0)
	assert.Empty(t, e.Units)
	assert.Equal(t, []string{"gateway.service of openclaw (failed)"}, names(e.Others))
}

// systemd 262 stops none of several units where one is absent, and so left the
// watchdog's timers armed after every run.
func TestNoDeadlineOutlivesItsRun(t *testing.T) {
	t.Parallel()
	for _, verdict := range []string{"confirm", "reject no"} {
		s := vpstest.Start(t, vpstest.WithTree(old()))
		id := start(t, dial(t, s), s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", "new\n")))
		f := follow(t, dial(t, s), id)
		f.until("confirming")
		probe(t, dial(t, s), id, verdict)
		f.until("end")
		f.close()
		for _, which := range []string{"switch", "confirm", "undo"} {
			assert.Equal(t, "inactive", s.Unit("", "vps-"+which+"-run-1.timer"), "%s after %s", which, verdict)
		}
	}
}

// What was in trouble before the switch is no reason to undo it.
func TestTroubleOfBeforeIsNotJudged(t *testing.T) {
	t.Parallel()
	var switched atomic.Bool
	s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithHook(func(s *vpstest.Server, call vpstest.Call) {
		// The real switch forgets failures, and starts the units again: they fail again.
		if call.Program == "switch-to-configuration" && call.Args[0] == "end" && !switched.Swap(true) {
			s.SetUnit("", "sick.service", "failed")
			s.SetUnit("", "sicker.service", "failed")
		}
	}))
	s.SetUnit("", "sick.service", "failed")
	e := judged(t, s, vpstest.System{Units: []vpstest.Unit{
		{Name: "sick.service", After: vpstest.Forever}, {Name: "sicker.service", After: vpstest.Forever}}}, 0)
	assert.Equal(t, []string{"sicker.service (failed)"}, names(e.Units))
}
