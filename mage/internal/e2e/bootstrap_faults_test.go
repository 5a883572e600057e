package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each phase on a server of its own: the client dies in it, and the next call
// leads to the end.
func TestFaultsBootstrapClientKilledInEachPhase(t *testing.T) {
	e2e.Require(t, "docker", "debootstrap", "sops")
	deaths := append(append([]death{}, chainOfTheInstall...), chainOfTheNewSystem[0])
	for _, m := range deaths[:faults.Points(t, 0, 1, len(deaths))] {
		t.Run(m.phase, func(t *testing.T) {
			t.Parallel()
			r := rent(t)
			r.killed(m.says, m.flags...)
			r.survives(faults.Row{Area: "kill the client of a bootstrap", Case: m.phase})
		})
	}
}

// At any moment whatever, three times in a row. Which moments is left to chance,
// so CI has those of every phase only.
func TestFaultsBootstrapClientKilledAtAnyMoment(t *testing.T) {
	e2e.Require(t, "docker", "debootstrap", "sops")
	for i := range faults.Points(t, 0, 0, 20) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			r := rent(t)
			for range 3 {
				cmd := r.target(r.bootstrapping()...)
				cmd.Stdout, cmd.Stderr = r.story, r.story
				after := rand.N(40 * time.Second)
				fmt.Fprintf(r.story, "$ mage %s (killed after %v)\n", strings.Join(cmd.Args[1:], " "), after)
				require.NoError(t, cmd.Start())
				timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
				_ = cmd.Wait()
				timer.Stop()
			}
			r.survives(faults.Row{Area: "kill the client of a bootstrap", Case: "at any moment, three times"})
		})
	}
}

// survives: the next call makes the server ours, and the row is written down.
func (r *rented) survives(row faults.Row) {
	begin := time.Now()
	end := r.bootstrap()
	// A server that is just restarting is unreachable, and said to be.
	for end.code == int(deploy.CodeUnreachable) && time.Since(begin) < 2*time.Minute {
		<-time.After(time.Second)
		end = r.bootstrap()
	}
	row.Injected, row.Detail = 1, fmt.Sprintf("next run: exit %d, %.0f s", end.code, time.Since(begin).Seconds())
	if assert.Equal(r.t, 0, end.code) {
		r.assertOurs(end)
	}
	if !r.t.Failed() {
		row.Survived = 1
	}
	faults.Report(r.t, row)
}
