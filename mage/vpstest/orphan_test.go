package vpstest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/vpstest"
)

const dieVariable = "VPSTEST_DIE"

// A test process that dies (a panic, a timeout, kill -9) cannot clean up: what ran
// on its servers must notice and end by itself.
func TestNothingWaitsForADeadTest(t *testing.T) {
	t.Parallel()
	if os.Getenv(dieVariable) != "" {
		die(t)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingWaitsForADeadTest$")
	place := t.TempDir()
	cmd.Env = append(os.Environ(), dieVariable+"=1", "TMPDIR="+place)
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Run(), &exit)
	require.Equal(t, 42, exit.ExitCode())
	assert.Eventually(t, func() bool {
		return !strings.Contains(commandLines(t), place)
	}, patience, tick)
}

// commandLines are those of all processes. A small Linux has no ps.
func commandLines(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		table, err := exec.Command("ps", "-A", "-o", "args=").Output()
		require.NoError(t, err)
		return string(table)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var all []byte
	for _, path := range processes {
		line, _ := os.ReadFile(path) // none: it has ended
		all = append(append(all, line...), '\n')
	}
	return string(all)
}

// die ends this process in the middle of a call, while the caller waits.
func die(t *testing.T) {
	s, err := vpstest.New(vpstest.WithHook(func(*vpstest.Server, vpstest.Call) { os.Exit(42) }))
	require.NoError(t, err)
	_, _, _ = output(t, dial(t, s), `/bin/sh -c 'sync; sync; exec sync' "$VPS_ROOT"`)
}
