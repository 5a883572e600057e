package deploy

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checked is an update with a health check, and the server before it.
func checked(t *testing.T, healthy func(context.Context, *remote.Client) error) (f *fixture, s *vpstest.Server, o UpdateOptions) {
	t.Helper()
	f = newFixture(t)
	s = f.server("web", vpstest.WithHostname("shop"))
	f.mustUpdate("web")
	f.behave(vpstest.System{Version: "26.05.9"})
	o = quick()
	o.Healthy = healthy
	return f, s, o
}

// The check decides before the commit: it sees the new system run, and the server boot
// the old one.
func TestHealthCheckDecidesBeforeTheCommit(t *testing.T) {
	t.Parallel()
	var s *vpstest.Server
	var f *fixture
	var o UpdateOptions
	var was string
	var asked atomic.Int32
	f, s, o = checked(t, func(ctx context.Context, client *remote.Client) error {
		asked.Add(1)
		assert.Equal(t, "web", client.Target().Name)
		name, err := client.Output(ctx, "uname -n", nil, 100)
		assert.Equal(t, "shop", strings.TrimSpace(string(name)))
		assert.NotEqual(t, was, s.CurrentSystem(), "the new system runs")
		assert.Equal(t, was, s.ProfileSystem(), "and nothing is committed")
		return err
	})
	was = s.CurrentSystem()

	r, err := f.update("web", o)

	require.NoError(t, err, "%s", f.story)
	assert.Equal(t, OutcomeUpdated, r.Outcome)
	assert.EqualValues(t, 1, asked.Load())
	assert.Equal(t, s.CurrentSystem(), s.ProfileSystem())
	assert.Contains(t, f.story.String(), "asking the caller's health check")

	_, err = f.update("web", o)
	require.NoError(t, err)
	assert.EqualValues(t, 1, asked.Load(), "where nothing is switched to, nobody is asked")
}

func TestFailedHealthCheckRollsBack(t *testing.T) {
	t.Parallel()
	sick := errors.New("GET /: 502\nreject\x1b[2J of the proxy")
	f, s, o := checked(t, func(context.Context, *remote.Client) error { return sick })
	running, boots, was := s.CurrentSystem(), s.BootDefault(), digestOf(factsOf(t, f, "web"))

	r, err := f.update("web", o)

	assert.Equal(t, OutcomeRolledBack, r.Outcome)
	assert.Equal(t, int(CodeRolledBack), ExitStatus(err))
	assert.ErrorIs(t, err, sick, "a program finds its own error")
	assert.EqualError(t, err, "web: the caller's health check failed: GET /: 502 reject [2J of the proxy")
	var f1 *Failure
	require.ErrorAs(t, err, &f1)
	assert.Contains(t, f1.Now, "the server is back on generation")
	assert.Contains(t, f1.NextStep().String(), "correct what the health check found, then run the same again", "the target update does not know the check")
	assert.Equal(t, running, s.CurrentSystem())
	assert.Equal(t, boots, s.BootDefault())
	facts := factsOf(t, f, "web")
	assert.Equal(t, was, digestOf(facts))
	assert.Equal(t, "the caller's health check failed: GET /: 502 reject [2J of the proxy", facts.Last.Message, "the server keeps why")
	assert.Equal(t, run.ReasonRejected, facts.Last.Fields["reason"])
}

// A check that hangs is told to end while the verdict can still reach the server. One
// that does not heed that is left alone.
func TestHealthCheckThatHangsIsRolledBackInTime(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	for name, healthy := range map[string]func(context.Context) error{
		"ends with its context": func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("nginx is still activating")
		},
		"ignores its context": func(context.Context) error {
			<-over
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, s, o := checked(t, func(ctx context.Context, _ *remote.Client) error { return healthy(ctx) })
			o.Confirm = 4 * time.Second
			was := s.CurrentSystem()

			_, err := f.update("web", o)

			assert.Equal(t, CodeRolledBack, codeOf(err), "%v", err)
			assert.ErrorContains(t, err, "the caller's health check failed: it did not end in time: the new system has to be confirmed within 4s")
			if name == "ends with its context" {
				assert.ErrorContains(t, err, ": nginx is still activating")
			}
			assert.Equal(t, was, s.CurrentSystem())
			assert.Equal(t, run.ReasonRejected, factsOf(t, f, "web").Last.Fields["reason"], "it was told before its deadline")
		})
	}
}

// A login that drops while the check uses it says nothing about the system.
func TestHealthCheckIsAskedAgainWhereTheLoginBreaks(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var f *fixture
	var s *vpstest.Server
	var o UpdateOptions
	f, s, o = checked(t, func(ctx context.Context, client *remote.Client) error {
		if asked.Add(1) == 1 {
			s.Cut()
		}
		_, err := client.Output(ctx, "true", nil, 100)
		return err
	})

	r, err := f.update("web", o)

	require.NoError(t, err, "%s", f.story)
	assert.Equal(t, OutcomeUpdated, r.Outcome)
	assert.EqualValues(t, 2, asked.Load())
}

// A system that is not well by itself is not shown to the caller.
func TestHealthCheckComesAfterTheSystemsOwnUnits(t *testing.T) {
	t.Parallel()
	f, _, o := checked(t, func(context.Context, *remote.Client) error {
		t.Error("it was asked")
		return nil
	})
	f.behave(vpstest.System{Exit: 4, Units: []vpstest.Unit{{Name: "web.service"}}})
	_, err := f.update("web", o)
	assert.ErrorContains(t, err, "web.service")
}

// A rollback is an update backwards: the same check decides it.
func TestHealthCheckOfARollback(t *testing.T) {
	t.Parallel()
	f, s, o := checked(t, nil)
	_, err := f.update("web", o)
	require.NoError(t, err)
	was := s.CurrentSystem()
	o.Healthy = func(context.Context, *remote.Client) error { return errors.New("too old") }

	r, err := f.Rollback(t.Context(), "web", RollbackOptions{UpdateOptions: o})

	assert.ErrorContains(t, err, "the caller's health check failed: too old")
	assert.Equal(t, OutcomeRolledBack, r.Outcome)
	assert.Equal(t, was, s.CurrentSystem())
}

// The target update would confirm a run that it resumes without the caller's check.
func TestRunWithAHealthCheckIsNotResumedWithout(t *testing.T) {
	t.Parallel()
	for want, healthy := range map[string]func(context.Context, *remote.Client) error{
		"`mage update web` resumes it": nil,
		"the same call resumes it":     func(context.Context, *remote.Client) error { return nil },
	} {
		j := &job{host: config.Host{Target: remote.Target{Name: "web"}}, o: quick(), command: next.Target("update", "web")}
		j.o.Healthy = healthy
		var r Result
		j.unsure(&r, run.NewFollower(&run.Link{}, "id", run.ActionSwitch, run.Deadlines{}, nil), run.ErrUnsure)
		var f *Failure
		require.ErrorAs(t, r.Err, &f)
		assert.Contains(t, f.NextStep().String(), want)
		assert.Equal(t, OutcomeUnknown, r.Outcome)
	}
}

func TestHealthCheckNeedsAWatchdog(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Confirm = 0
	o.Healthy = func(context.Context, *remote.Client) error { return nil }
	_, err := newFixture(t).Update(t.Context(), "web", o)
	assert.Equal(t, CodeUsage, codeOf(err))
	assert.ErrorContains(t, err, "a health check needs -confirm")
}
