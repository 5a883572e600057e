package mage

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A failed upgrade told nobody; and what systemd says by default of a unit that it
// does not know ("success") must not be shown as one that went well.
func TestStatusShowsTheLastUpgrade(t *testing.T) {
	t.Parallel()
	ended := time.Date(2026, 11, 28, 3, 41, 7, 0, time.UTC)
	for name, tc := range map[string]struct {
		upgrade    run.Upgrade
		cell, json string
	}{
		"no such unit":        {run.Upgrade{State: "inactive", Result: "success"}, "unknown", `{"outcome":"unknown"}`},
		"not since the start": {run.Upgrade{Loaded: true, State: "inactive", Result: "success"}, "unknown", `{"outcome":"unknown"}`},
		"running":             {run.Upgrade{Loaded: true, State: "activating", Result: "success", Ended: ended}, "running", `{"outcome":"running"}`},
		"well": {run.Upgrade{Loaded: true, State: "inactive", Result: "success", Ended: ended}, "succeeded, " + day(ended),
			`{"outcome":"succeeded","result":"success","ended":"2026-11-28T03:41:07Z"}`},
		"failed": {run.Upgrade{Loaded: true, State: "failed", Result: "exit-code", Ended: ended}, "failed (exit-code), " + day(ended),
			`{"outcome":"failed","result":"exit-code","ended":"2026-11-28T03:41:07Z"}`},
	} {
		v := viewStatus(deploy.HostStatus{Facts: run.Facts{Upgrade: tc.upgrade}})
		assert.Equal(t, tc.cell, v.Upgrade.String(), name)
		text, err := json.Marshal(v.Upgrade)
		require.NoError(t, err)
		assert.JSONEq(t, tc.json, string(text), name)
	}
	v := viewStatus(deploy.HostStatus{Err: errors.New("unreachable")})
	assert.Nil(t, v.Upgrade)
	assert.Empty(t, v.Upgrade.String())
}
