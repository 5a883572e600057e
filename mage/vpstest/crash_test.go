package vpstest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/vpstest"
)

// updateTo runs an update with its confirmation, as far as the server lives.
func updateTo(t *testing.T, s *vpstest.Server, id string, wanted map[string]string) {
	t.Helper()
	client, err := dialPort(s, s.Port())
	require.NoError(t, err)
	defer client.Close()
	f := follow(t, client, start(t, client, s.NewArchive(id, wanted)))
	defer f.close()
	f.until("confirming")
	second := dial(t, s)
	probe(t, second, id, "confirm")
	for f.lines.Scan() && !strings.Contains(f.lines.Text(), " end ") {
	}
}

// dieAt makes a hook that ends the server's life at one call of the commit.
func dieAt(point int, die func(*vpstest.Server) error) (func(*vpstest.Server, vpstest.Call), *atomic.Int32) {
	var calls atomic.Int32
	var committing atomic.Bool
	return func(s *vpstest.Server, c vpstest.Call) {
		if c.Program == "nix-env" {
			committing.Store(true)
		}
		if committing.Load() && int(calls.Add(1)) == point {
			if err := die(s); err != nil {
				panic(err)
			}
		}
	}, &calls
}

// A server that dies at any call of a commit is wholly the old or wholly the new
// one once its recovery has run, and takes the next update.
func TestDeathDuringTheCommit(t *testing.T) {
	t.Parallel()
	deaths := []struct {
		name string
		die  func(*vpstest.Server) error
	}{
		{"crash", (*vpstest.Server).Restart},
		{"forgotten", func(s *vpstest.Server) error { return s.PowerCut(vpstest.Forgotten) }},
		{"emptied", func(s *vpstest.Server) error { return s.PowerCut(vpstest.Emptied) }},
	}
	// nix-env, switch-to-configuration, then the syncs between the renames.
	for point := 1; point <= 6; point++ {
		death := deaths[point%len(deaths)]
		t.Run(fmt.Sprintf("%s at %d", death.name, point), func(t *testing.T) {
			t.Parallel()
			hook, calls := dieAt(point, death.die)
			s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithPowerCuts(), vpstest.WithHook(hook))
			was := remember(s)
			wanted := tree(vpstest.System{}, "new.nix", "new\n")
			updateTo(t, s, "run-1", wanted)
			require.True(t, s.WaitIdle(patience))
			require.GreaterOrEqual(t, int(calls.Load()), point, "there is no such point any more")
			if s.CurrentSystem() == was.system {
				assertOld(t, s, was)
			} else {
				assertNew(t, s, was, wanted)
			}
			next := tree(vpstest.System{}, "next.nix", "next\n")
			updateTo(t, s, "run-2", next)
			assert.Equal(t, next, s.Files())
			assert.Equal(t, s.CurrentSystem(), s.BootDefault())
		})
	}
}

// Where mv cannot exchange, three renames do it, and back. A server that dies between
// two of them and starts into the old system gets its tree back, also one that
// somebody edited meanwhile, or where NixOS has made an empty folder at its start.
func TestDeathBetweenTheRenames(t *testing.T) {
	t.Parallel()
	const nixos, staged, aside = "etc/nixos", "etc/.nixos-vps-run-1", "etc/.nixos-vps-run-1.old"
	for name, renames := range map[string][]string{
		"after the first":                {nixos, aside},
		"after the second":               {nixos, aside, staged, nixos},
		"going back, after the first":    {nixos, "etc/x", staged, aside, "etc/x", staged},
		"going back, after the second":   {staged, aside},
		"after all three, or going back": {nixos, aside, staged, nixos, aside, staged},
	} {
		for _, edited := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, edited: %v", name, edited), func(t *testing.T) {
				t.Parallel()
				var died atomic.Bool
				s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
					// The step of the commit before the exchange.
					if c.Program == "switch-to-configuration" && slices.Contains(c.Args, "boot") && died.CompareAndSwap(false, true) {
						if edited {
							assert.NoError(t, s.WriteFile(nixos+"/edit.nix", "by hand\n"))
						}
						for i := 0; i < len(renames); i += 2 {
							assert.NoError(t, os.Rename(s.Path(renames[i]), s.Path(renames[i+1])))
						}
						assert.NoError(t, os.MkdirAll(s.Path(nixos), 0o755))
						assert.NoError(t, s.Restart())
					}
				}))
				was := remember(s)
				if edited {
					was.tree["edit.nix"] = "by hand\n"
				}
				updateTo(t, s, "run-1", tree(vpstest.System{}, "new.nix", "new\n"))
				require.True(t, s.WaitIdle(patience))
				assertOld(t, s, was)
				assert.Nil(t, s.Intent())
				next := tree(vpstest.System{}, "next.nix", "next\n")
				updateTo(t, s, "run-2", next)
				assert.Equal(t, next, s.Files())
			})
		}
	}
}

func TestRestartBeforeTheConfirmationBringsBackTheOld(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	was := remember(s)
	client := dial(t, s)
	f := follow(t, client, start(t, client, s.NewArchive("run-1", tree(vpstest.System{}))))
	f.until("confirming")
	require.NotEqual(t, was.system, s.CurrentSystem())
	require.NoError(t, s.Restart())
	f.close()
	assertOld(t, s, was)
	assert.Equal(t, was.system, s.BootedSystem())
	updateTo(t, s, "run-2", tree(vpstest.System{}))
	assert.Contains(t, s.RunFile("run-1", "ended"), "result=rolledback")
	assert.Contains(t, s.RunFile("run-2", "ended"), "result=committed")
	// Whoever follows a run waits for so much of its log. The first one's end was told
	// by the supervisor of the second, which had written nothing of that log.
	for _, id := range []string{"run-1", "run-2"} {
		info, err := os.Stat(s.Path("var/lib/vps/runs/" + id + "/log"))
		require.NoError(t, err)
		assert.NotZero(t, info.Size())
		assert.Contains(t, s.RunFile(id, "ended"), fmt.Sprintf(" log=%d ", info.Size()))
	}
}

// A power cut right after a commit left the file that holds the run's end empty, and
// the client that followed waited for an end that nobody told.
func TestEndThatAPowerCutEmptied(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	wanted := tree(vpstest.System{}, "new.nix", "new\n")
	updateTo(t, s, "run-1", wanted)
	require.NoError(t, s.WriteFile("var/lib/vps/runs/run-1/ended", ""))
	status := s.RunFile("run-1", "status")
	before, _, ended := strings.Cut(status, " end ")
	require.True(t, ended, status)
	require.NoError(t, s.WriteFile("var/lib/vps/runs/run-1/status", before[:strings.LastIndexByte(before, '\n')+1]))
	require.NoError(t, s.Restart())

	f := follow(t, dial(t, s), "run-1")
	defer f.close()
	assert.Equal(t, "committed", f.until("end").Fields["result"])
	assert.Equal(t, wanted, s.Files())
}

func TestPowerCutLosesWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithPowerCuts())
	client := dial(t, s)
	runCommand(t, client, command(`cd "$VPS_ROOT/etc" && echo 1 >a && sync && echo 2 >b && mv a c`))
	require.NoError(t, s.PowerCut(vpstest.Emptied))
	assert.Equal(t, "1\n", s.ReadFile("etc/c"))
	assert.Equal(t, "", s.ReadFile("etc/b"))
	assert.FileExists(t, s.Path("etc/b"))
	require.NoError(t, s.PowerCut(vpstest.Forgotten))
	assert.Equal(t, "1\n", s.ReadFile("etc/a"))
	assert.NoFileExists(t, s.Path("etc/b"))
	assert.NoFileExists(t, s.Path("etc/c"))
}

func TestPowerCutNeedsToBePrepared(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	assert.ErrorContains(t, s.PowerCut(vpstest.Forgotten), "WithPowerCuts")
}

// The old system comes back late, or only by a restart: the boot default was
// never touched.
func TestOldSystemThatDoesNotComeBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fails  int
		result string
	}{{1, "rolledback"}, {9, "rebooted"}} {
		t.Run(c.result, func(t *testing.T) {
			t.Parallel()
			s := vpstest.Start(t, vpstest.WithTree(old()))
			was := remember(s)
			client := dial(t, s)
			id := start(t, client, s.NewArchive("run-1", tree(vpstest.System{LeaveFails: c.fails})))
			f := follow(t, client, id)
			defer f.close()
			f.until("confirming")
			assert.Equal(t, "rejected=1", last(probe(t, dial(t, s), id, "reject it")))
			// A restart cuts the connection, so the end may not be seen from here.
			for f.lines.Scan() && !strings.Contains(f.lines.Text(), " end ") {
			}
			if c.result == "rebooted" {
				require.Eventually(t, func() bool { return s.CurrentSystem() == was.system }, patience, tick)
			}
			require.True(t, s.WaitIdle(patience))
			assert.Contains(t, s.RunFile(id, "ended"), "result="+c.result)
			assertOld(t, s, was)
		})
	}
}

// A commit that can be neither finished nor undone keeps the next runs away, which
// would clear away what it needs, until it can.
func TestStuckCommitIsNotClearedAway(t *testing.T) {
	t.Parallel()
	var second atomic.Bool
	obstacles := []string{"var/lib/vps/record.new", "boot/default.new"}
	s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
		if c.Program == "nix-env" && second.Load() {
			// The record cannot be written, and then the boot default not be set back.
			obstacle := obstacles[0]
			if slices.Contains(c.Args, "--switch-generation") {
				obstacle = obstacles[1]
			}
			assert.NoError(t, os.MkdirAll(s.Path(obstacle), 0o755))
		}
	}))
	updateTo(t, s, "run-1", tree(vpstest.System{}, "first.nix", "first\n"))
	second.Store(true)
	wanted := tree(vpstest.System{}, "second.nix", "second\n")
	updateTo(t, s, "run-2", wanted)
	require.Contains(t, s.RunFile("run-2", "ended"), "result=stuck")
	second.Store(false)

	f := follow(t, dial(t, s), start(t, dial(t, s), s.NewArchive("run-3", tree(vpstest.System{}, "third.nix", "third\n"))))
	defer f.close()
	assert.True(t, f.ends("failed"))
	assert.Contains(t, s.RunFile("run-3", "ended"), "an interrupted run could not be finished or undone")
	assert.NotNil(t, s.Intent())

	for _, obstacle := range obstacles {
		require.NoError(t, os.RemoveAll(s.Path(obstacle)))
	}
	next := tree(vpstest.System{}, "fourth.nix", "fourth\n")
	updateTo(t, s, "run-4", next)
	assert.Equal(t, next, s.Files(), s.RunFile("run-4", "ended"))
	assert.Contains(t, s.RunFile("run-2", "ended"), "result=committed")
	assert.Nil(t, s.Intent())
	assert.Equal(t, s.CurrentSystem(), s.BootDefault())
}

func last(list []string) string { return list[len(list)-1] }
