package deploy

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func back(to int) RollbackOptions { return RollbackOptions{To: to, UpdateOptions: quick()} }

func TestRollbackTakesTreeAndGenerationTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.mustUpdate("web")
	tree, system := s.TreeDigest(), s.CurrentSystem()
	f.write("x.nix", "1")
	f.mustUpdate("web")
	f.write("x.nix", "2")
	f.mustUpdate("web")
	newest := s.CurrentSystem()

	r, err := f.Rollback(t.Context(), "web", back(2))

	require.NoError(t, err, "%s", f.story)
	assert.Equal(t, 2, r.After)
	assert.Equal(t, tree, s.TreeDigest())
	assert.Equal(t, system, s.CurrentSystem())
	assert.Equal(t, system, s.BootDefault())
	list, err := f.Generations(t.Context(), "web")
	require.NoError(t, err)
	assert.Len(t, list, 4, "the generations after it stay")
	assert.True(t, list[1].Default)

	r, err = f.Rollback(t.Context(), "web", back(4))
	require.NoError(t, err)
	assert.Equal(t, newest, s.CurrentSystem(), "and forth again")
	assert.Equal(t, 4, r.After)
}

// No switch goes over a changed inhibitor, in neither direction. The advice was to
// deploy the bad tree again, for the next boot.
func TestRollbackForTheNextBoot(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.behave(vpstest.System{Version: "26.05.1", Inhibited: "dbus-implementation"})
	o := quick()
	o.Action = ActionBoot
	_, err := f.update("web", o)
	require.NoError(t, err, "%s", f.story)
	require.NoError(t, s.Restart())
	tree, system := s.TreeDigest(), s.CurrentSystem()
	f.behave(vpstest.System{Version: "26.05.2"})
	f.mustUpdate("web")
	newer := s.CurrentSystem()

	_, err = f.Rollback(t.Context(), "web", back(2))
	assert.Equal(t, CodeFailed, codeOf(err), "%v", err)
	assert.Equal(t, newer, s.CurrentSystem())
	assert.Contains(t, next.Of(err).String(), "mage rollback web -to=2 -action=boot`, then reboot the server")

	b := back(2)
	b.Action = ActionBoot
	r, err := f.Rollback(t.Context(), "web", b)
	require.NoError(t, err, "%s", f.story)
	assert.Equal(t, OutcomeBackAtBoot, r.Outcome)
	assert.Equal(t, 2, r.After)
	assert.Equal(t, newer, s.CurrentSystem(), "until then")
	assert.Equal(t, []string{system, tree}, []string{s.BootDefault(), s.TreeDigest()})
	require.NoError(t, s.Restart())
	assert.Equal(t, system, s.CurrentSystem())

	b.Action = ActionTest
	_, err = f.Rollback(t.Context(), "web", b)
	assert.Equal(t, CodeUsage, codeOf(err))
}

func TestRollbackRefusesWhatTheNightlyUpgradeWouldUndo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.mustUpdate("web")
	running := s.CurrentSystem()

	_, err := f.Rollback(t.Context(), "web", back(0))
	assert.Equal(t, CodeFailed, codeOf(err))
	assert.ErrorContains(t, err, "nightly upgrade")
	assert.Equal(t, running, s.CurrentSystem())

	o := back(0)
	o.Force = true
	r, err := f.Rollback(t.Context(), "web", o)
	require.NoError(t, err)
	assert.Equal(t, 1, r.After)
}

func TestRollbackNamesMissingGenerations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	for _, to := range []int{0, 7} {
		_, err := f.Rollback(t.Context(), "web", back(to))
		assert.Equal(t, CodeFailed, codeOf(err))
		assert.ErrorContains(t, err, "there is no generation")
	}
}

func TestRollbackCancelsARunThatWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cancelled := make(chan error, 1)
	s := f.server("web", vpstest.WithHook(func(_ *vpstest.Server, c vpstest.Call) {
		if isConfirmTimer(c) {
			go func() {
				_, err := f.Rollback(t.Context(), "web", back(0))
				cancelled <- err
			}()
		}
	}))
	was := s.CurrentSystem()
	o := quick()
	o.Settle = 10 * time.Second

	_, err := f.update("web", o)

	assert.Equal(t, CodeRolledBack, codeOf(err), "%v", err)
	assert.NoError(t, <-cancelled)
	assert.Equal(t, was, s.CurrentSystem())
}

// Ctrl-C during a rollback and the same command again: it must not cancel the
// rollback that is wanted.
func TestInterruptedRollbackIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	var armed atomic.Bool
	s := f.server("web", vpstest.WithHook(func(_ *vpstest.Server, c vpstest.Call) {
		if armed.Load() && isConfirmTimer(c) {
			cancel(errors.New("ctrl-c"))
		}
	}))
	f.mustUpdate("web")
	was := s.CurrentSystem()
	f.write("x.nix", "1")
	f.mustUpdate("web")
	armed.Store(true)
	o := back(2)
	o.Settle = time.Second

	_, err := f.Rollback(ctx, "web", o)
	assert.Equal(t, CodeUnknown, codeOf(err), "%v", err)

	r, err := f.Rollback(t.Context(), "web", o)
	require.NoError(t, err, "%s", f.story)
	assert.Equal(t, OutcomeBack, r.Outcome)
	assert.Contains(t, f.story.String(), "taking up run")
	assert.Equal(t, was, s.CurrentSystem())
	assert.Equal(t, was, s.BootDefault())
}

// A second person is told who holds the server, and nothing of the first run is
// lost.
func TestSecondPersonIsToldWhoHoldsTheServer(t *testing.T) {
	t.Parallel()
	f, other := newFixture(t), newFixture(t)
	second := make(chan error, 1)
	f.server("web", vpstest.WithHook(func(_ *vpstest.Server, c vpstest.Call) {
		if c.Program == "nixos-rebuild" && c.Args[0] == "build" {
			_, err := other.update("web", quick())
			second <- err
		}
	}))
	other.hosts["web"], other.order = f.hosts["web"], f.order
	other.Who, other.From = "bob", "desk"

	f.mustUpdate("web")

	err := <-second
	assert.Equal(t, CodeBusy, codeOf(err), "%v", err)
	assert.ErrorContains(t, err, "alice from laptop")
}

// The new configuration moves sshd to the port that vps.yaml declares: the
// update finds the server where it was, and confirms where it will be.
func TestPortChangeIsFoundAndConfirmed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.mustUpdate("web")
	f.behave(vpstest.System{Port: s.SparePort()})
	change("web", func(h *config.Host) { h.Port = s.SparePort() })(f, s)

	r := f.mustUpdate("web")

	assert.Equal(t, OutcomeUpdated, r.Outcome)
	assert.Contains(t, f.story.String(), "where it answered last")
	assert.Equal(t, OutcomeNothing, f.mustUpdate("web").Outcome)
}

func TestStatusAndDiffTellTheDifference(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.mustUpdate("web")

	list, err := f.Status(t.Context(), "web", 8)
	require.NoError(t, err)
	assert.Equal(t, "as committed", list[0].State)
	d, err := f.Diff(t.Context(), "web")
	require.NoError(t, err)
	assert.Empty(t, d)

	f.write("x.nix", "1")
	require.NoError(t, s.WriteFile("/etc/nixos/by-hand.nix", "2"))
	d, err = f.Diff(t.Context(), "web")
	require.NoError(t, err)
	assert.Equal(t, []Change{{Kind: "removed", Path: "by-hand.nix"}, {Kind: "added", Path: "x.nix"}}, d)
	list, err = f.Status(t.Context(), "web", 8)
	require.NoError(t, err)
	assert.Equal(t, "/etc/nixos changed by hand", list[0].State)
}
