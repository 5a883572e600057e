package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUpdateDeploysTheTreeAndItsSystemTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	before := s.CurrentSystem()

	r := f.mustUpdate("web")

	assert.Equal(t, OutcomeUpdated, r.Outcome)
	assert.Equal(t, 1, r.Before)
	assert.Equal(t, 2, r.After)
	assert.NotEqual(t, before, s.CurrentSystem())
	assert.Equal(t, s.CurrentSystem(), s.BootDefault(), "what runs is what boots")
	want, err := tree.Collect(t.Context(), f.Dir)
	require.NoError(t, err)
	facts := factsOf(t, f, "web")
	assert.Equal(t, want.Manifest().Digest(), digestOf(facts))
	assert.Equal(t, want.Manifest().Digest(), facts.Record.Digest)
	assert.Nil(t, facts.Holder, "nobody holds the server afterwards")
	left, err := filepath.Glob(s.Path("etc/.nixos-vps-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestSecondUpdateHasNothingToDo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.mustUpdate("web")
	runs := runCount(t, s)

	r := f.mustUpdate("web")

	assert.Equal(t, OutcomeNothing, r.Outcome)
	assert.Equal(t, runs, runCount(t, s), "no run was started")
}

func runCount(t *testing.T, s *vpstest.Server) int {
	t.Helper()
	list, err := os.ReadDir(s.Path("var/lib/vps/runs"))
	require.NoError(t, err)
	return len(list)
}

func TestUpdateChangesDeletesAndMakesExecutable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.write("a file", "1")
	f.write("dir/gone.nix", "x")
	f.write("dir/below/further/gone.nix", "x")
	f.write("script.sh", "#!/bin/sh\n")
	f.mustUpdate("web")

	f.write("a file", "2")
	require.NoError(t, os.RemoveAll(filepath.Join(f.Dir, "nix/dir")))
	require.NoError(t, os.Chmod(filepath.Join(f.Dir, "nix/script.sh"), 0o755))
	require.NoError(t, os.Symlink("a file", filepath.Join(f.Dir, "nix/link")))
	f.mustUpdate("web")

	text, err := os.ReadFile(s.Path("etc/nixos/link"))
	require.NoError(t, err)
	assert.Equal(t, "2", string(text))
	assert.NoDirExists(t, s.Path("etc/nixos/dir"))
	info, err := os.Stat(s.Path("etc/nixos/script.sh"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode().Perm())
}

func TestForeignFilesAreKeptAside(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web", vpstest.WithTree(map[string]string{"flake.nix": "{}", "configuration.nix": "mine"}))

	r := f.mustUpdate("web")

	require.NotEmpty(t, r.Kept)
	text, err := os.ReadFile(s.Path(filepath.Join(r.Kept, "configuration.nix")))
	require.NoError(t, err)
	assert.Equal(t, "mine", string(text))
	assert.NoFileExists(t, s.Path("etc/nixos/configuration.nix"))
}

// Ctrl-S, or a pager that shows its first page, while the server waits to be confirmed:
// nobody could log in anew, and a good system was rolled back.
func TestTerminalThatStandsStillRollsNothingBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.mustUpdate("web")
	was := s.BootDefault()
	terminal := &stopping{at: "switching", goOn: make(chan struct{})}
	f.log = observe.To(term.New(strings.NewReader(""), &buffer{}, terminal).Observer())
	f.behave(vpstest.System{Version: "26.05.9"})
	ended := make(chan error, 1)
	go func() {
		_, err := f.update("web", quick())
		ended <- err
	}()
	assert.Eventually(t, func() bool { return s.BootDefault() != was }, 15*time.Second, 20*time.Millisecond, "it is committed")
	close(terminal.goOn)
	require.NoError(t, <-ended)
	assert.Contains(t, terminal.String(), "web: done", "the last word is not lost; package terminal has another for it")
}

// stopping is a terminal that stops at a word.
type stopping struct {
	buffer
	at   string
	goOn chan struct{}
}

func (s *stopping) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.at) {
		<-s.goOn
	}
	return s.buffer.Write(p)
}

// Somebody edits /etc/nixos on the server while a run builds: the edit is kept aside,
// or stays where it is if the run is undone.
func TestEditsDuringARunAreKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		system vpstest.System
		edit   string // of /etc/nixos
		code   Code
	}{
		{"another file", vpstest.System{Version: "26.05.1"}, "by-hand.nix", CodeDone},
		{"a file of ours", vpstest.System{Version: "26.05.2"}, "flake.nix", CodeDone},
		{"and the commit fails", vpstest.System{BootFails: true}, "by-hand.nix", CodeRolledBack},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			var editing atomic.Bool
			s := f.server("web", vpstest.WithHook(func(s *vpstest.Server, call vpstest.Call) {
				if call.Program == "nixos-rebuild" && editing.CompareAndSwap(true, false) {
					assert.NoError(t, s.WriteFile("etc/nixos/"+c.edit, "by hand\n"))
				}
			}))
			f.mustUpdate("web")
			was := s.CurrentSystem()
			f.behave(c.system)
			editing.Store(true)

			r, err := f.update("web", quick())
			assert.Equal(t, c.code, codeOf(err), "%v", err)
			assert.Nil(t, s.Intent())
			assert.Equal(t, s.CurrentSystem(), s.BootDefault())
			if c.code != CodeDone {
				assert.Equal(t, was, s.CurrentSystem())
				assert.Equal(t, "by hand\n", s.ReadFile("etc/nixos/"+c.edit))
				f.behave(vpstest.System{Version: "26.05.3"})
				r = f.mustUpdate("web")
			}
			require.NotEmpty(t, r.Kept)
			text, err := os.ReadFile(s.Path(filepath.Join(r.Kept, c.edit)))
			require.NoError(t, err)
			assert.Equal(t, "by hand\n", string(text))
			f.behave(vpstest.System{Version: "26.05.4"})
			assert.Empty(t, f.mustUpdate("web").Kept, "nobody edited anything")
		})
	}
}

// A switch to what was built for the next boot has the tree already, and nothing to
// keep aside; neither has one after which only modes differ.
func TestNothingIsKeptWhereNobodyEdited(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var running atomic.Bool
	f.server("web", vpstest.WithHook(func(s *vpstest.Server, call vpstest.Call) {
		if call.Program == "nixos-rebuild" && running.Load() {
			assert.NoError(t, os.Chmod(s.Path("etc/nixos/flake.nix"), 0o600))
		}
	}))
	f.mustUpdate("web")
	f.behave(vpstest.System{Version: "26.05.5"})
	o := quick()
	o.Action = ActionBoot
	r, err := f.update("web", o)
	require.NoError(t, err)
	assert.Empty(t, r.Kept)
	r = f.mustUpdate("web")
	assert.Equal(t, OutcomeUpdated, r.Outcome)
	assert.Empty(t, r.Kept)
	running.Store(true)
	f.behave(vpstest.System{Version: "26.05.6"})
	assert.Empty(t, f.mustUpdate("web").Kept)
}

// Nix completes a flake.lock that lacks an input, in the tree that it builds from: such
// a tree is refused before anything is switched to.
func TestBuildThatWritesIntoItsTreeIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web", vpstest.WithHook(func(s *vpstest.Server, call vpstest.Call) {
		if staged, _ := filepath.Glob(s.Path("etc/.nixos-vps-*Z-????????")); call.Program == "nixos-rebuild" && len(staged) == 1 {
			assert.NoError(t, os.WriteFile(filepath.Join(staged[0], "flake.lock"), []byte("{}"), 0o644))
		}
	}))
	was := s.CurrentSystem()
	_, err := f.update("web", quick())
	assert.Equal(t, CodeFailed, codeOf(err), "%v", err)
	assert.ErrorContains(t, err, "the build wrote into the tree")
	var fail *Failure
	require.ErrorAs(t, err, &fail)
	assert.Contains(t, fail.NextStep().String(), "mage lock")
	assert.Equal(t, was, s.CurrentSystem())
	assert.NotContains(t, f.story.String(), "switching")
}

// A new system that is not well must leave the server as it was: running, boot
// default, tree, and nothing staged.
func TestBadSystemsAreRolledBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		system vpstest.System
		says   string
		code   Code
	}{
		{"build fails", vpstest.System{BuildFails: "syntax error"}, "the build failed", CodeFailed},
		{"switch fails", vpstest.System{Exit: 2}, "failed", CodeRolledBack},
		{"stops sshd", vpstest.System{SSH: vpstest.SSHStopped}, "nobody confirmed", CodeRolledBack},
		{"drops the network", vpstest.System{SSH: vpstest.SSHDropped}, "nobody confirmed", CodeRolledBack},
		{"denies the login", vpstest.System{SSH: vpstest.SSHDenied}, "no new login on port", CodeRolledBack},
		{"a unit fails", vpstest.System{Exit: 4, Units: []vpstest.Unit{{Name: "web.service"}}}, "web.service", CodeRolledBack},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := f.server("web")
			f.mustUpdate("web")
			was, before := factsOf(t, f, "web"), s.BootDefault()

			f.behave(c.system)
			o := quick()
			o.Confirm = 4 * time.Second
			_, err := f.update("web", o)

			require.Error(t, err)
			assert.Equal(t, c.code, codeOf(err), "%v\n%s", err, f.story)
			assert.ErrorContains(t, err, c.says)
			is := factsOf(t, f, "web")
			assert.Equal(t, was.Current, is.Current, "the running system")
			assert.Equal(t, digestOf(was), digestOf(is), "/etc/nixos")
			assert.Equal(t, was.Generation, is.Generation)
			assert.Equal(t, before, s.BootDefault())
		})
	}
}

func TestHangingSwitchIsEnded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	was := s.CurrentSystem()
	f.behave(vpstest.System{Hang: vpstest.Forever})
	o := quick()
	o.SwitchTimeout = time.Second

	_, err := f.update("web", o)

	assert.Equal(t, CodeRolledBack, codeOf(err), "%v", err)
	assert.ErrorContains(t, err, "did not end within")
	assert.Equal(t, was, s.CurrentSystem())
}

func TestKilledSupervisorIsRolledBackByTheWatchdog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	killed := false
	s := f.server("web", vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
		if c.Program == "systemd-run" && !killed && isConfirmTimer(c) {
			killed = true
			go s.KillSupervisor()
		}
	}))
	was := s.CurrentSystem()
	o := quick()
	o.Confirm = 3 * time.Second
	o.Settle = 2 * time.Second

	_, err := f.update("web", o)

	assert.Equal(t, CodeRolledBack, codeOf(err), "%v\n%s", err, f.story)
	assert.Equal(t, was, s.CurrentSystem())
}

// The supervisor dies when all of the commit is done but its end is not told: what
// is committed must not be undone, and the client must learn of it.
func TestKilledSupervisorAfterTheCommitIsStillCommitted(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"mv", "cat"} { // makes the end; tells it
		t.Run(last, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			var armed atomic.Bool
			s := f.server("web", vpstest.WithTrace(last), vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
				n := slices.IndexFunc(c.Args, func(a string) bool { return strings.HasSuffix(a, "/ended") })
				if c.Program == last && n >= 0 && armed.CompareAndSwap(true, false) {
					s.KillSupervisor()
				}
			}))
			f.mustUpdate("web")
			was := standingOf(s)
			f.write("x.nix", "1")
			armed.Store(true)
			o := quick()
			o.Confirm, o.SwitchTimeout = 3*time.Second, 3*time.Second

			r, err := f.update("web", o)

			require.NoError(t, err, "%s", f.story)
			assert.Equal(t, OutcomeUpdated, r.Outcome)
			require.True(t, s.WaitIdle(idle))
			is := standingOf(s)
			assert.NotEqual(t, was.Tree, is.Tree)
			assert.Equal(t, is.Boots, is.Running)
			assert.Equal(t, OutcomeNothing, f.mustUpdate("web").Outcome)
		})
	}
}

// The supervisor dies between the renames with which it exchanges the trees: what
// was replaced, somebody else's files here, is still kept aside.
func TestKilledSupervisorKeepsForeignFiles(t *testing.T) {
	t.Parallel()
	for rename := 1; rename <= 3; rename++ {
		t.Run(fmt.Sprint(rename), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			var seen atomic.Int32
			s := f.server("web", vpstest.WithTree(map[string]string{"flake.nix": "{}", "mine.nix": "mine"}),
				vpstest.WithTrace("mv"), vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
					if c.Program != "mv" || !strings.Contains(c.String(), "/.nixos-vps-") || c.Args[0] == "--exchange" {
						return
					}
					if int(seen.Add(1)) == rename {
						s.KillSupervisor()
					}
				}))
			o := quick()
			o.Confirm, o.SwitchTimeout = 3*time.Second, 3*time.Second

			r, err := f.update("web", o)

			require.NoError(t, err, "%s", f.story)
			require.True(t, s.WaitIdle(idle))
			t.Logf("%d renames; none where mv can exchange", seen.Load())
			assert.Equal(t, "mine", s.ReadFile(filepath.Join(r.Kept, "mine.nix")))
			left, err := filepath.Glob(s.Path("etc/.nixos-vps-*"))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

func isConfirmTimer(c vpstest.Call) bool {
	for _, a := range c.Args {
		if len(a) > len("--unit=vps-confirm-") && a[:len("--unit=vps-confirm-")] == "--unit=vps-confirm-" {
			return true
		}
	}
	return false
}

// Whatever the flags of the second command are, the run has those of the first.
func TestInterruptedUpdateIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string]func(*UpdateOptions){
		"as it was":         func(*UpdateOptions) {},
		"without watchdog":  func(o *UpdateOptions) { o.Confirm, o.Settle = 0, 2*time.Second },
		"settling too long": func(o *UpdateOptions) { o.Confirm, o.Settle = time.Minute, 30*time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			f.server("web", vpstest.WithHook(func(_ *vpstest.Server, c vpstest.Call) {
				if c.Program == "nixos-rebuild" {
					cancel(errors.New("ctrl-c"))
				}
			}))
			f.behave(vpstest.System{BuildTime: time.Second})
			o := quick()
			o.Confirm = 4 * time.Second
			_, err := f.Update(ctx, "web", o)
			assert.Equal(t, CodeUnknown, codeOf(err), "%v", err)
			var fail *Failure
			require.ErrorAs(t, err, &fail)
			assert.Contains(t, fail.Now, "goes on")

			o = quick()
			flags(&o)
			r, err := f.update("web", o)
			require.NoError(t, err, "%s", f.story)
			assert.Equal(t, OutcomeUpdated, r.Outcome)
			assert.Contains(t, f.story.String(), "taking up run")
		})
	}
}

// The run of a client that was killed begins after the next run of the same person
// has looked who holds the server: that one takes it up, and is not told that the
// server is busy with itself.
func TestUpdateTakesUpARunThatOvertookIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var looked atomic.Bool
	looked.Store(true)
	var once sync.Once
	building := make(chan struct{})
	ended := make(chan error, 1)
	f.server("web", vpstest.WithHook(func(_ *vpstest.Server, c vpstest.Call) {
		// Between what the second has seen and its start, the first starts and builds.
		if c.Program == "systemd-run" && strings.Contains(c.String(), "vps-run-") && looked.CompareAndSwap(true, false) {
			go func() {
				_, err := f.update("web", quick())
				ended <- err
			}()
			<-building
		}
		if c.Program == "nixos-rebuild" {
			once.Do(func() { close(building) })
		}
	}))
	f.behave(vpstest.System{BuildTime: time.Second})

	r := f.mustUpdate("web")

	assert.Equal(t, OutcomeUpdated, r.Outcome)
	assert.NoError(t, <-ended)
	assert.Contains(t, f.story.String(), "taking up run")
}

func TestActionsGoAsFarAsTheySay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		action             Action
		runs, boots, trees bool // the new ones
		outcome            Outcome
	}{
		{ActionBuild, false, false, false, OutcomeBuilt},
		{ActionDry, false, false, false, OutcomeDry},
		{ActionTest, true, false, false, OutcomeTested},
		{ActionBoot, false, true, true, OutcomeNextBoot},
		{ActionSwitch, true, true, true, OutcomeUpdated},
	} {
		t.Run(string(c.action), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := f.server("web")
			running, boots, was := s.CurrentSystem(), s.BootDefault(), digestOf(factsOf(t, f, "web"))
			o := quick()
			o.Action = c.action

			r, err := f.update("web", o)

			require.NoError(t, err, "%s", f.story)
			assert.Equal(t, c.outcome, r.Outcome)
			assert.Equal(t, c.runs, running != s.CurrentSystem(), "running system")
			assert.Equal(t, c.boots, boots != s.BootDefault(), "boot default")
			assert.Equal(t, c.trees, was != digestOf(factsOf(t, f, "web")), "/etc/nixos")
		})
	}
}

func TestSeveralHostsDoNotStopEachOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("a")
	down := f.server("b")
	f.server("c")
	require.NoError(t, down.Close())

	results, err := f.Update(t.Context(), "all", quick())

	require.Len(t, results, 3)
	assert.Equal(t, OutcomeUpdated, results[0].Outcome)
	assert.Equal(t, OutcomeUnreachable, results[1].Outcome)
	assert.Equal(t, OutcomeUpdated, results[2].Outcome)
	assert.Equal(t, int(CodeUnreachable), ExitStatus(err))
}

// A power cut in the middle of the switch takes lines of the run's status with it
// that the client has seen. What the server decides afterwards must reach it.
func TestPowerCutDuringTheSwitchIsToldToItsClient(t *testing.T) {
	t.Parallel()
	for name, loss := range map[string]vpstest.Loss{"forgotten": vpstest.Forgotten, "emptied": vpstest.Emptied} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			var armed atomic.Bool
			s := f.server("web", vpstest.WithPowerCuts(), vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
				if c.Program == "switch-to-configuration" && slices.Contains(c.Args, "test") && armed.CompareAndSwap(true, false) {
					if err := s.PowerCut(loss); err != nil {
						panic(err)
					}
				}
			}))
			f.mustUpdate("web")
			was := standingOf(s)
			f.write("x.nix", "1")
			armed.Store(true)

			_, err := f.update("web", quick())

			assert.Equal(t, CodeRolledBack, codeOf(err), "%v\n%s", err, f.story)
			assert.Equal(t, was, standingOf(s))
			f.mustUpdate("web")
		})
	}
}

// A comment changes the tree and not the system: the tree is exchanged and recorded,
// and no service is switched for it.
func TestCommentIsDeployedWithoutASwitch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.write("x.nix", "1\n")
	f.mustUpdate("web")
	system, generation := s.CurrentSystem(), factsOf(t, f, "web").Generation
	before := switches(s)

	f.write("x.nix", "# what it is for\n1\n")
	r := f.mustUpdate("web")

	assert.Equal(t, before, switches(s), "nothing was switched")
	assert.Equal(t, system, s.CurrentSystem())
	assert.Equal(t, generation, r.After)
	facts := factsOf(t, f, "web")
	assert.Equal(t, digestOf(facts), facts.Record.Digest)
	assert.Contains(t, s.ReadFile("etc/nixos/x.nix"), "what it is for")
	assert.Equal(t, OutcomeNothing, f.mustUpdate("web").Outcome)
}

func switches(s *vpstest.Server) int {
	n := 0
	for _, c := range s.Calls() {
		if c.Program == "switch-to-configuration" {
			n++
		}
	}
	return n
}

// The flake output decides what is built, as the tree does: another one is deployed,
// and one that does not exist is no "nothing to do".
func TestAnotherOutputIsDeployed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	f.behave(vpstest.System{Outputs: []string{"vps-x86", "other"}})
	f.mustUpdate("web")
	require.Equal(t, "vps-x86", factsOf(t, f, "web").Record.Output)

	h := f.hosts["web"]
	h.Flake = "other"
	f.hosts["web"] = h
	assert.NotEqual(t, OutcomeNothing, f.mustUpdate("web").Outcome)
	assert.Equal(t, "other", factsOf(t, f, "web").Record.Output)
	assert.Equal(t, OutcomeNothing, f.mustUpdate("web").Outcome)

	h.Flake = "nobody-has-it"
	f.hosts["web"] = h
	_, err := f.update("web", quick())
	assert.ErrorContains(t, err, "fail")
}

// A commit that changes nothing of the tree is noted: the next laptop compares with it.
func TestNothingToDoNotesTheCommit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	f.git("init", "-q")
	f.git("add", "-A")
	f.git("commit", "-qm", "one")
	f.mustUpdate("web")
	require.Equal(t, f.git("rev-parse", "HEAD"), factsOf(t, f, "web").Record.Commit)
	generation := factsOf(t, f, "web").Record.Generation

	f.git("commit", "-q", "--amend", "-m", "the same tree")
	assert.Equal(t, OutcomeNothing, f.mustUpdate("web").Outcome)

	record := factsOf(t, f, "web").Record
	assert.Equal(t, f.git("rev-parse", "HEAD"), record.Commit)
	assert.False(t, record.Dirty)
	assert.Equal(t, "alice", record.Who)
	assert.Equal(t, generation, record.Generation, "all else stays")
	assert.Equal(t, "vps-x86", record.Output)
}

// The port that the configuration gives to sshd is where the new login goes, whatever
// vps.yaml says, and the next run finds the server there.
func TestUpdateFollowsThePortOfTheNewSystem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.mustUpdate("web")
	port := s.SparePort()
	f.behave(vpstest.System{Port: port, Facts: fmt.Sprintf(`{"version":1,"output":"vps-x86","sshPorts":[%d]}`, port)})

	f.mustUpdate("web")

	assert.Contains(t, f.story.String(), fmt.Sprintf(`write "port: %d" for it in vps.yaml`, port))
	assert.Equal(t, 1, strings.Count(f.story.String(), "write \"port:"), "told once")
	assert.Equal(t, OutcomeNothing, f.mustUpdate("web").Outcome, "it is found there")
	f.write("x.nix", "1\n")
	f.mustUpdate("web")
}

// Of several hosts on a terminal a build that failed showed nothing of its log. All of
// it is kept, and named.
func TestLogOfARunIsKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("one")
	f.server("two")
	f.behave(vpstest.System{BuildFails: "error: the reason of the day"})

	results, err := f.Update(t.Context(), "all", quick())

	require.Error(t, err)
	for _, r := range results {
		require.NotEmpty(t, r.Log)
		text, err := os.ReadFile(filepath.Join(f.Dir, r.Log))
		require.NoError(t, err)
		assert.Contains(t, string(text), "building\n")
		assert.Contains(t, string(text), "the reason of the day")
		info, err := os.Stat(filepath.Join(f.Dir, r.Log))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		var fail *Failure
		require.ErrorAs(t, r.Err, &fail)
		assert.Contains(t, fail.State(), r.Log)
		assert.Contains(t, f.story.String(), r.Host+": the end of its log:")
	}
}

// A unit that no configuration declares is told, and rolls nothing back.
func TestUndeclaredUnitIsToldAndNotJudged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	f.mustUpdate("web")
	f.behave(vpstest.System{Units: []vpstest.Unit{{Name: "0123-check.service", Foreign: true}}})
	assert.Equal(t, OutcomeUpdated, f.mustUpdate("web").Outcome)
	assert.Contains(t, f.story.String(), "in trouble, but not declared by the new system: 0123-check.service (failed)")
}
