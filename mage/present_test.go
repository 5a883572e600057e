package mage

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A failed upgrade told nobody.
func TestStatusShowsTheLastUpgrade(t *testing.T) {
	t.Parallel()
	ended := time.Date(2026, 11, 28, 3, 41, 7, 0, time.UTC)
	for name, tc := range map[string]struct {
		upgrade    deploy.Upgrade
		cell, json string
	}{
		"not known": {deploy.Upgrade{Outcome: "unknown"}, "unknown", `{"outcome":"unknown"}`},
		"running":   {deploy.Upgrade{Outcome: "running"}, "running", `{"outcome":"running"}`},
		"well": {deploy.Upgrade{Outcome: "succeeded", Result: "success", Ended: ended}, "succeeded, " + day(ended),
			`{"outcome":"succeeded","result":"success","ended":"2026-11-28T03:41:07Z"}`},
		"failed": {deploy.Upgrade{Outcome: "failed", Result: "exit-code", Ended: ended}, "failed (exit-code), " + day(ended),
			`{"outcome":"failed","result":"exit-code","ended":"2026-11-28T03:41:07Z"}`},
	} {
		v := viewStatus(deploy.HostStatus{Upgrade: tc.upgrade})
		assert.Equal(t, tc.cell, v.Upgrade.String(), name)
		text, err := json.Marshal(v.Upgrade)
		require.NoError(t, err)
		assert.JSONEq(t, tc.json, string(text), name)
	}
	v := viewStatus(deploy.HostStatus{Err: errors.New("unreachable")})
	assert.Nil(t, v.Upgrade)
	assert.Empty(t, v.Upgrade.String())
}
