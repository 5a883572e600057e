package deploy

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dagadbm/vps/mage/internal/run"
)

// What systemd says by default of a unit that it does not know ("success") must not be
// told as an upgrade that went well.
func TestUpgradeThatHasNotEndedHasNoResult(t *testing.T) {
	t.Parallel()
	ended := time.Date(2026, 11, 28, 3, 41, 7, 0, time.UTC)
	for name, tc := range map[string]struct {
		told run.Upgrade
		want Upgrade
	}{
		"no such unit":        {run.Upgrade{State: "inactive", Result: "success"}, Upgrade{Outcome: "unknown"}},
		"not since the start": {run.Upgrade{Loaded: true, State: "inactive", Result: "success"}, Upgrade{Outcome: "unknown"}},
		"running":             {run.Upgrade{Loaded: true, State: "activating", Result: "success", Ended: ended}, Upgrade{Outcome: "running"}},
		"well":                {run.Upgrade{Loaded: true, State: "inactive", Result: "success", Ended: ended}, Upgrade{"succeeded", "success", ended}},
		"failed":              {run.Upgrade{Loaded: true, State: "failed", Result: "exit-code", Ended: ended}, Upgrade{"failed", "exit-code", ended}},
	} {
		assert.Equal(t, tc.want, upgradeOf(tc.told), name)
	}
}

// What could not be asked is not known: no field of such a host says anything.
func TestStatusOfAHostThatWasNotAskedSaysNothing(t *testing.T) {
	t.Parallel()
	err := &Failure{Host: "web", Code: CodeUnreachable, Err: errors.New("no route")}
	half := run.Facts{NixOS: true, Generation: 3, Booted: "/a", Current: "/b"}
	assert.Equal(t, HostStatus{State: "unreachable", Err: err}, statusFrom(half, err, false))
}

func TestStateIsTheFirstThatAPersonMustKnow(t *testing.T) {
	t.Parallel()
	record := &run.Record{Generation: 2, Digest: digestOf(run.Facts{})}
	well := func(change func(*run.Facts)) run.Facts {
		f := run.Facts{NixOS: true, Generation: 2, Current: "/a", Profile: "/a", Booted: "/a", Record: record}
		change(&f)
		return f
	}
	for want, facts := range map[string]run.Facts{
		"as committed":                         well(func(*run.Facts) {}),
		"not NixOS":                            well(func(f *run.Facts) { f.NixOS = false }),
		"commit interrupted":                   well(func(f *run.Facts) { f.Intent, f.Open = "x", []string{"x"} }),
		"waiting for its watchdog":             well(func(f *run.Facts) { f.Open = []string{"x"} }),
		"building":                             well(func(f *run.Facts) { f.Holder = &run.Holder{Status: run.Status{Phase: "building"}} }),
		"not ours yet":                         well(func(f *run.Facts) { f.Record = nil }),
		"another system than the boot default": well(func(f *run.Facts) { f.Profile = "/b" }),
		"/etc/nixos changed by hand":           well(func(f *run.Facts) { f.Manifest = "m" }),
		"upgraded by itself":                   well(func(f *run.Facts) { f.Generation = 3 }),
	} {
		assert.Equal(t, want, statusFrom(facts, nil, false).State)
	}
	assert.Equal(t, "bootstrap unfinished", statusFrom(well(func(f *run.Facts) { f.Record = nil }), nil, true).State)
}
