package deploy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
)

// Round trips are what a distant server costs. These budgets are part of the
// design: what is needed next is opened while the server looks at itself.
func TestRoundTripBudgets(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	far := vpstest.Link{RTT: 50 * time.Millisecond}
	atStart := 0 // the run builds without waiting for us from here on
	s := f.server("web", vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
		if c.Program == "systemd-run" && strings.Contains(c.String(), "vps-run-") {
			atStart = s.RoundTrips()
		}
	}))
	// near brings the server to the present tree, far counts what a run needs.
	near := func() {
		s.SetLinks(func(int) vpstest.Link { return vpstest.Link{} })
		f.mustUpdate("web")
		s.SetLinks(func(int) vpstest.Link { return far })
	}
	// Building changes nothing that stays, so it can be tried again.
	build := quick()
	build.Action = ActionBuild

	near()
	assertTrips(t, 10, "nothing to do", func() int {
		s.ResetRoundTrips()
		f.mustUpdate("web")
		return s.RoundTrips()
	})
	untilBuild := func() int {
		s.ResetRoundTrips()
		_, err := f.update("web", build)
		assert.NoError(t, err)
		return atStart
	}
	f.write("x.nix", "1")
	assertTrips(t, 11, "one file changed, until the build starts", untilBuild)

	for i := range 1000 {
		f.write(fmt.Sprintf("many/%d.nix", i), fmt.Sprint(i))
	}
	near()
	f.write("x.nix", "2")
	assertTrips(t, 11, "one of a thousand changed, until the build starts", untilBuild)
}

// assertTrips tries until a run needs no more round trips than that. A machine
// that keeps the client waiting makes a count too high, never too low, so that the
// least of several is the right one.
func assertTrips(t *testing.T, budget int, what string, count func() int) {
	t.Helper()
	var counts []int
	for range 10 {
		n := count()
		if n <= budget {
			t.Logf("%s: %d round trips", what, n)
			return
		}
		counts = append(counts, n)
	}
	assert.Fail(t, "more round trips than budgeted", "%s: %v, and the budget is %d", what, counts, budget)
}
