package deploy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dagadbm/vps/mage/internal/run"
)

// What a person is told of a run that went out of sight is what will become of it.
func TestProspectsOfARunOutOfSight(t *testing.T) {
	t.Parallel()
	heard := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		phase   string
		action  run.Action
		confirm time.Duration
		want    string
	}{
		{"", run.ActionSwitch, time.Minute, "unless somebody confirms it"},
		{run.PhaseBuilding, run.ActionTest, time.Minute, "unless somebody confirms it"},
		{run.PhaseBuilding, run.ActionSwitch, 0, "without a watchdog"},
		{run.PhaseBuilding, run.ActionBoot, time.Minute, "ends by itself"},
		{run.PhaseSwitching, run.ActionSwitch, time.Minute, "rolled back by 03:15:05"},
		{run.PhaseConfirming, run.ActionSwitch, time.Minute, "rolled back by 03:15:05"},
		{run.PhaseSwitching, run.ActionSwitch, 0, "without a watchdog"},
		{run.PhaseCommitting, run.ActionSwitch, time.Minute, "which then stays"},
		{run.PhaseRollingBack, run.ActionSwitch, time.Minute, "going back"},
		{run.PhaseRebooting, run.ActionSwitch, time.Minute, "going back"},
	} {
		seen := run.Seen{Deadlines: run.Deadlines{Confirm: c.confirm, Switch: 10 * time.Minute}, Action: c.action,
			Phase: c.phase, Heard: heard, Armed: c.phase != "" && c.phase != run.PhaseBuilding}
		assert.Contains(t, prospects(seen), c.want, "%s, %s, confirm %v", c.phase, c.action, c.confirm)
	}
}
