package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTableSaysWhichBudgetsHold(t *testing.T) {
	var b table
	b.add("one host",
		beside("nothing", []time.Duration{time.Second, 5 * time.Second, 2 * time.Second}, []time.Duration{4 * time.Second}, 0.5),
		atMost("round trips", 11, 23, 10),
		row{name: "figure only", ours: "1"})
	var out strings.Builder
	require.NoError(t, b.print(&out))
	lines := strings.Split(out.String(), "\n")
	assert.Equal(t, "nothing 2.00 s 4.00 s 0.50 x <= 0.50 x yes", strings.Join(strings.Fields(lines[2]), " "))
	assert.Equal(t, "round trips 11 23 <= 10 NO", strings.Join(strings.Fields(lines[3]), " "))
	assert.Equal(t, "figure only 1", strings.Join(strings.Fields(lines[4]), " "))
	assert.Contains(t, out.String(), "budgets: 1 hold, 1 do not")
}

func TestLeastOfCounts(t *testing.T) {
	assert.Equal(t, 9, least([]int{11, 9, 10}))
	assert.Zero(t, least(nil))
}

func TestHeapsOfTheFirstHostsAndOfTheRest(t *testing.T) {
	r := report{Heaps: []heapSample{{0, 5}, {128, 9}, {129, 7}, {1000, 8}}}
	first, rest := r.heaps(128)
	assert.Equal(t, uint64(9), first)
	assert.Equal(t, uint64(8), rest)
}

func TestStoryCountsHostsThatEnded(t *testing.T) {
	s := &story{only: true}
	_, _ = s.Write([]byte("host-1: connecting …\nhost-1: updated (0:03)\nhost-2: nothing to do (12:00)\n"))
	lines, ended := s.told()
	assert.Equal(t, 2, ended)
	assert.Empty(t, lines, "a thousand hosts' lines would be a heap of their own")
}

func TestAReportIsHeldToItsResults(t *testing.T) {
	r := report{Results: []outcome{{Host: "a", Result: "updated"}, {Host: "b", Result: "rolled back", Err: "why"}}}
	assert.ErrorContains(t, r.all(2, "updated"), "b: rolled back why")
	assert.ErrorContains(t, r.all(3, "updated"), "2 results of 3")
	assert.NoError(t, report{Results: r.Results[:1]}.all(1, "updated"))
}

func TestDependenciesWithoutSecrets(t *testing.T) {
	cache := t.TempDir()
	d := dependencies{imports: map[string][]string{}, modules: map[string]string{}, cache: cache}
	require.NoError(t, d.parse(modulePath+"|"+secretsPackage+" example.com/Both|\n"+
		secretsPackage+"|example.com/only example.com/Both|\n"+
		"example.com/only|fmt|example.com/only@v1.0.0\nexample.com/Both||example.com/Both@v2.0.0\nfmt||\n"))
	for path, size := range map[string]int{"example.com/only/@v/v1.0.0.zip": 5, "example.com/!both/@v/v2.0.0.zip": 7} {
		at := filepath.Join(cache, "cache/download", path)
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		require.NoError(t, os.WriteFile(at, make([]byte, size), 0o600))
	}
	assert.Equal(t, []string{"example.com/Both", modulePath}, d.reach(secretsPackage))
	bytes, missing := d.download(d.reach(""))
	assert.Equal(t, int64(12), bytes)
	assert.Zero(t, missing)
	bytes, _ = d.download(d.reach(secretsPackage))
	assert.Equal(t, int64(7), bytes)
	assert.Error(t, d.parse("one|two\n"))
}

func TestStandInsAreThere(t *testing.T) {
	programs, err := programsOf("nixos-rebuild", "nix-env", "systemctl", "systemd-run", "sync", "switch-to-configuration")
	require.NoError(t, err)
	for name, text := range programs {
		assert.True(t, strings.HasPrefix(text, "#!/bin/sh\n# Stands for "), name)
	}
	_, err = programsOf("nobody")
	assert.Error(t, err)
}
