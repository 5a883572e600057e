package vpstest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
)

func TestTracedProgramsAreSeenAndRun(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTrace("mv", "ln"))
	runCommand(t, dial(t, s), command("echo 1 >a; mv a b; ln -s b c; sync; cat c >d"))
	var seen []string
	for _, call := range s.Calls() {
		seen = append(seen, call.String())
	}
	assert.Equal(t, []string{"mv a b", "ln -s b c", "sync"}, seen)
	assert.Equal(t, "1\n", s.ReadFile("root/d"))
}

func TestMountsAndFreeSpace(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithMount("/etc/nixos"),
		vpstest.WithFree("/", 5000), vpstest.WithFree("/boot", 12))
	facts, err := run.ParseFacts(strings.NewReader(runCommand(t, dial(t, s), run.Shell{}.Facts(run.FactsQuery{}))))
	require.NoError(t, err)
	assert.Equal(t, run.TreeMount, facts.TreeKind)
	assert.EqualValues(t, 12<<10, facts.FreeBoot)
	assert.EqualValues(t, 5000<<10, facts.FreeNix)
}

func TestWithoutRecoveryTheIntentStays(t *testing.T) {
	t.Parallel()
	hook, _ := dieAt(1, (*vpstest.Server).Restart)
	s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithHook(hook), vpstest.WithoutRecovery())
	updateTo(t, s, "run-1", tree(vpstest.System{}, "new.nix", "new\n"))
	require.True(t, s.WaitIdle(patience))
	assert.Equal(t, "run-1", s.Intent()["id"])
}

// What nixos-upgrade does behind the client's back.
func TestServerUpgradesItself(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	newer, err := s.AddSystem("nightly", vpstest.System{Version: "26.05.20991231.abc"})
	require.NoError(t, err)
	exit, err := s.SwitchTo(newer)
	require.NoError(t, err)
	assert.Zero(t, exit)
	assert.Equal(t, 2, s.Generation())
	assert.Equal(t, []string{newer, newer, newer}, []string{s.CurrentSystem(), s.BootDefault(), s.ProfileSystem()})
	require.NoError(t, s.Restart())
	assert.Equal(t, newer, s.BootedSystem())
}

func TestCutEndsEveryConnection(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	s.Cut()
	assert.Error(t, client.Wait())
	dial(t, s)
}
