package vpstest_test

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
)

// A promise is a story that says whether a supervisor keeps it, and a way to
// break the script so that it does not.
type promise struct {
	name     string
	old, new string
	kept     func(t *testing.T, supervisor []byte) bool
}

var promises = []promise{
	{"waits for the confirmation",
		`[ ! -e "$run/confirmed" ] || return 0`, `return 0`, unconfirmedIsUndone},
	{"has a watchdog",
		`watchdog() {`, "watchdog() {\n exit 0", deadSupervisorIsUndone},
	{"compares under the lock",
		`[ "$hash" = "$base" ]`, `true`, changedTreeIsStale},
	{"checks what it staged",
		`[ "$hash" = "$want" ]`, `true`, wrongTreeIsRefused},
	{"switches only to what it staged", `intact || finish failed`, `true || finish failed`, changedWhileBuildingIsRefused},
	{"exchanges only what it staged", `keep_tree && intact`, `keep_tree`, changedWhileSwitchingIsUndone},
	{"keeps what somebody edited meanwhile", `! unedited || return 0`, `return 0`, editedMeanwhileIsKept},
	{"syncs what it commits",
		"set -u\n", "set -u\nsync() { :; }\n", committedTreeSurvivesAPowerCut},
	{"holds a lock", `flock -w "$1" 9`, `true`, secondRunIsBusy},
	{"exchanges the tree", `place "$want" &&`, `true &&`, committedTreeIsThere},
	{"makes it the boot default", `{ [ -n "${same-}" ] || patiently "$new" boot; } &&`, `true &&`, committedTreeIsThere},
	{"writes down what it intends", `intact && write_intent && advance`, `intact && advance`, crashedCommitIsDecided},
	{"writes the record before it drops the intent",
		"write_record &&\n        sync", "rm -f \"$STATE/intent\" &&\n        sync &&\n        write_record",
		crashedCommitIsDecided},
	{"intends before it acts", `write_intent && advance`, `advance && write_intent`, crashedCommitIsDecided},
	{"keeps the tree", `keep_tree && intact`, `intact`, committedTreeIsThere},
	{"takes the tree back too", `place() {`, "place() {\n [ \"$kind\" = update ] || return 0", rollbackTakesTheTree},
	{"undoes a commit that fails", `undo_commit reason=commit`, `finish_committed; undo_commit reason=commit`, failedCommitIsUndone},
	{"rolls back a failed switch", `*) roll_back "code=$1" "message=switch-to-configuration failed with $1" ;;`, `*) ;;`, failedSwitchIsUndone},
	{"has a deadline for the switch", `[ "$confirm" = 0 ] || arm switch "$switchtimeout" ||`, `true ||`, hungSwitchIsUndone},
}

func (p promise) broken(t *testing.T) []byte {
	t.Helper()
	script := run.Supervisor()
	require.True(t, bytes.Contains(script, []byte(p.old)), "the script no longer has what is to be broken: %s", p.old)
	return bytes.ReplaceAll(script, []byte(p.old), []byte(p.new))
}

// If breaking the script went unnoticed here, no test on this server could hold
// what the design promises.
func TestFaultsBrokenSupervisor(t *testing.T) {
	faults.Asked(t)
	t.Parallel()
	for _, p := range promises[:faults.Points(t, 4, len(promises), len(promises))] {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			row := faults.Row{Area: "supervisor broken on purpose (survived: a test turns red)", Case: p.name, Injected: 1}
			assert.True(t, p.kept(t, run.Supervisor()), "the script as it is keeps the promise")
			if assert.False(t, p.kept(t, p.broken(t)), "a broken one goes unnoticed") {
				row.Survived = 1
			}
			faults.Report(t, row)
		})
	}
}

// begin starts a run of a broken or whole supervisor on a new server.
func begin(t *testing.T, supervisor []byte, change func(*vpstest.Server, *vpstest.Archive)) (*vpstest.Server, *follower) {
	t.Helper()
	s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithPowerCuts())
	a := s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", "new\n"))
	a.Supervisor = supervisor
	if change != nil {
		change(s, &a)
	}
	client := dial(t, s)
	f := follow(t, client, start(t, client, a))
	t.Cleanup(f.close)
	return s, f
}

func soon(_ *vpstest.Server, a *vpstest.Archive) { a.Request["confirm"] = "1" }

func unconfirmedIsUndone(t *testing.T, supervisor []byte) bool {
	s, f := begin(t, supervisor, soon)
	f.until("end")
	return s.CurrentSystem() == s.BootDefault() && s.Generation() == 1
}

func deadSupervisorIsUndone(t *testing.T, supervisor []byte) bool {
	s, f := begin(t, supervisor, soon)
	f.until("confirming")
	require.True(t, s.KillSupervisor())
	f.until("gone")
	require.Eventually(t, func() bool { return s.Unit("", "vps-confirm-run-1.timer") != "active" }, patience, tick)
	require.True(t, s.WaitIdle(patience))
	return s.CurrentSystem() == s.BootDefault()
}

func changedTreeIsStale(t *testing.T, supervisor []byte) bool {
	_, f := begin(t, supervisor, func(s *vpstest.Server, _ *vpstest.Archive) {
		require.NoError(t, s.WriteFile("etc/nixos/by-hand.nix", "changed\n"))
	})
	return f.ends("stale")
}

func wrongTreeIsRefused(t *testing.T, supervisor []byte) bool {
	_, f := begin(t, supervisor, func(_ *vpstest.Server, a *vpstest.Archive) {
		a.Sent = map[string]string{}
		for path, text := range a.Tree {
			a.Sent[path] = text + "damaged"
		}
		a.Sent[vpstest.ConfFile] = ""
	})
	return f.ends("failed")
}

// touching has a program write into a file of the server's, in a run of its own.
func touching(t *testing.T, supervisor []byte, program, action, file string) (*vpstest.Server, *follower) {
	var running atomic.Bool
	s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
		if running.Load() && c.Program == program && slices.Contains(c.Args, action) {
			assert.NoError(t, s.WriteFile(file, "changed\n"))
		}
	}))
	updateTo(t, s, "run-1", tree(vpstest.System{}, "first.nix", "first\n"))
	running.Store(true)
	a := s.NewArchive("run-2", tree(vpstest.System{}, "new.nix", "new\n"))
	a.Supervisor, a.Request["confirm"] = supervisor, "0"
	f := follow(t, dial(t, s), start(t, dial(t, s), a))
	t.Cleanup(f.close)
	return s, f
}

func changedWhileBuildingIsRefused(t *testing.T, supervisor []byte) bool {
	_, f := touching(t, supervisor, "nixos-rebuild", "build", "etc/.nixos-vps-run-2/new.nix")
	return f.ends("failed")
}

func changedWhileSwitchingIsUndone(t *testing.T, supervisor []byte) bool {
	s, f := touching(t, supervisor, "switch-to-configuration", "test", "etc/.nixos-vps-run-2/new.nix")
	return f.ends("rolledback") && s.BootDefault() == s.CurrentSystem() && s.Generation() == 2 &&
		s.ReadFile("etc/nixos/first.nix") == "first\n"
}

func editedMeanwhileIsKept(t *testing.T, supervisor []byte) bool {
	s, f := touching(t, supervisor, "nixos-rebuild", "build", "etc/nixos/first.nix")
	if !f.ends("committed") {
		return false
	}
	kept, err := os.ReadFile(s.Path("var/lib/vps/kept/run-2/first.nix"))
	return err == nil && string(kept) == "changed\n"
}

func secondRunIsBusy(t *testing.T, supervisor []byte) bool {
	s, f := begin(t, supervisor, nil)
	f.until("confirming")
	client := dial(t, s)
	second := s.NewArchive("run-2", tree(vpstest.System{}, "second.nix", "second\n"))
	second.Supervisor = supervisor
	g := follow(t, client, start(t, client, second))
	defer g.close()
	return g.ends("busy")
}

func commit(t *testing.T, supervisor []byte) *vpstest.Server {
	s, f := begin(t, supervisor, nil)
	f.until("confirming")
	probe(t, dial(t, s), "run-1", "confirm")
	f.until("end")
	return s
}

func committedTreeIsThere(t *testing.T, supervisor []byte) bool {
	s := commit(t, supervisor)
	return s.ReadFile("etc/nixos/new.nix") == "new\n" && s.BootDefault() == s.CurrentSystem() &&
		s.Intent() == nil && s.ReadFile("var/lib/vps/trees/"+s.TreeDigest()+"/new.nix") == "new\n"
}

// A crash at any sync of the commit.
func crashedCommitIsDecided(t *testing.T, supervisor []byte) bool {
	for crash := 1; crash <= 8; crash++ {
		var committing atomic.Bool
		var syncs atomic.Int32
		s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
			if c.Program == "sync" && committing.Load() && int(syncs.Add(1)) == crash {
				assert.NoError(t, s.Restart())
			}
		}))
		a := s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", "new\n"))
		a.Supervisor = supervisor
		was := s.TreeDigest()
		f := follow(t, dial(t, s), start(t, dial(t, s), a))
		f.until("confirming")
		committing.Store(true)
		probe(t, dial(t, s), "run-1", "confirm")
		for f.lines.Scan() && !strings.Contains(f.lines.Text(), " end ") {
		}
		f.close()
		require.True(t, s.WaitIdle(patience))
		oneThing := s.CurrentSystem() == s.BootDefault() && s.BootDefault() == s.ProfileSystem() &&
			(s.TreeDigest() == was) == (s.Generation() == 1) && (s.TreeDigest() == was || s.Record()["digest"] == s.TreeDigest())
		if !oneThing {
			return false
		}
	}
	return true
}

func rollbackTakesTheTree(t *testing.T, supervisor []byte) bool {
	s := vpstest.Start(t, vpstest.WithTree(old()))
	digests := map[string]string{}
	for _, name := range []string{"first", "second"} {
		updateTo(t, s, name, tree(vpstest.System{}, name+".nix", name))
		digests[name] = s.TreeDigest()
	}
	a := s.NewArchive("back", nil)
	a.Supervisor = supervisor
	a.Request["kind"], a.Request["generation"], a.Request["digest"] = "rollback", "2", digests["first"]
	f := follow(t, dial(t, s), start(t, dial(t, s), a))
	defer f.close()
	f.until("confirming")
	probe(t, dial(t, s), "back", "confirm")
	f.until("end")
	return s.TreeDigest() == digests["first"] && s.Generation() == 2
}

// undone runs a system that does not deserve to stay.
func undone(t *testing.T, supervisor []byte, system vpstest.System, change func(*vpstest.Archive)) bool {
	s := vpstest.Start(t, vpstest.WithTree(old()))
	was := remember(s)
	a := s.NewArchive("run-1", tree(system, "new.nix", "new\n"))
	a.Supervisor = supervisor
	change(&a)
	start(t, dial(t, s), a)
	// On a busy machine the run can be over before anybody looks.
	require.Eventually(t, func() bool {
		_, err := os.Stat(s.Path("var/lib/vps/runs/run-1/held"))
		return err == nil
	}, patience, tick)
	ended := s.WaitIdle(12 * time.Second)
	return ended && s.CurrentSystem() == was.system && s.BootDefault() == was.system &&
		s.ProfileSystem() == was.system &&
		maps.Equal(s.Files(), was.tree)
}

func failedCommitIsUndone(t *testing.T, supervisor []byte) bool {
	return undone(t, supervisor, vpstest.System{BootFails: true}, func(a *vpstest.Archive) { a.Request["confirm"] = "0" })
}

func failedSwitchIsUndone(t *testing.T, supervisor []byte) bool {
	return undone(t, supervisor, vpstest.System{Exit: 3}, func(a *vpstest.Archive) { a.Request["confirm"] = "0" })
}

func hungSwitchIsUndone(t *testing.T, supervisor []byte) bool {
	return undone(t, supervisor, vpstest.System{Hang: vpstest.Forever}, func(a *vpstest.Archive) { a.Request["switchtimeout"] = "1" })
}

func committedTreeSurvivesAPowerCut(t *testing.T, supervisor []byte) bool {
	s := commit(t, supervisor)
	require.NoError(t, s.PowerCut(vpstest.Emptied))
	require.True(t, s.WaitIdle(patience))
	return s.ReadFile("etc/nixos/new.nix") == "new\n" && s.Record()["digest"] == s.TreeDigest()
}
