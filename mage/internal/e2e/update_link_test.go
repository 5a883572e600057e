package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The client comes back by itself and tells what became of the run.
func TestUpdateOverACutLink(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	for _, c := range []struct{ phase, slow string }{
		{"building", "buildSeconds"}, {"switching", "activationSeconds"},
	} {
		l := openLaptop(t, l.files)
		l.files.Set("note", c.phase)
		l.files.Set(c.slow, 4)
		ended := l.begin(t.Context(), brisk())
		awaitPhase(s, c.phase)
		s.CutLogins()
		end := l.wait(ended)
		require.NoError(t, end.err, "%s\n%s", c.phase, l.story)
		assert.Equal(t, deploy.OutcomeUpdated, end.Result.Outcome)
		assert.Contains(t, l.story.String(), ": reconnecting")
		l.assertDeployed(s)
		l.files.Set(c.slow, 0)
	}

	before := stand(s)
	l.files.Set("note", "bad")
	l.files.Set("activationSeconds", 4)
	l.files.Unit("bad.service", "/bin/false")
	ended := l.begin(t.Context(), brisk())
	awaitPhase(s, "switching")
	s.CutLogins()
	end := l.wait(ended)
	l.assertCode(deploy.CodeRolledBack, end.err)
	assert.ErrorContains(t, end.err, "bad.service")
	assert.Equal(t, before, stand(s))
}

// The network is away from before the confirmation until after its deadline.
func TestUpdateOverADeadLinkIsRolledBack(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	before := stand(s)
	l.files.Set("note", "unconfirmed")
	o := brisk()
	o.Confirm, o.Settle = 6*time.Second, 5*time.Second
	ended := l.begin(t.Context(), o)
	awaitPhase(s, "confirming")
	s.Unplug()
	s.Exec(newestRun + `; for i in $(seq 1200); do [ ! -e "$run/ended" ] || exit 0; sleep 0.05; done; exit 1`)
	s.Plug()
	end := l.wait(ended)
	l.assertCode(deploy.CodeRolledBack, end.err)
	assert.Equal(t, before, stand(s))
}

func TestInterruptedUpdateIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.files.Set("note", "interrupted")
	l.files.Set("buildSeconds", 5)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := l.begin(ctx, brisk())
	awaitPhase(s, "building")
	interrupt()
	l.assertCode(deploy.CodeUnknown, l.wait(ended).err)
	assert.Equal(t, deploy.OutcomeUpdated, l.mustUpdate().Outcome)
	assert.Contains(t, l.story.String(), "taking up run")
	l.assertDeployed(s)
	assert.Equal(t, "1", s.Exec("ls /var/lib/vps/runs | wc -l"), "one run did it all")
}

func TestUpdateOfABusyServer(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.files.Set("upgradeSeconds", 15)
	l.mustUpdate()

	s.Exec("systemctl start --no-block nixos-upgrade")
	s.Await("systemctl is-active nixos-upgrade | grep -q activating", time.Minute)
	l.files.Set("note", "mine")
	_, err := l.update(brisk())
	l.assertCode(deploy.CodeBusy, err)
	assert.ErrorContains(t, err, "nixos-upgrade")
	s.Exec("systemctl stop nixos-upgrade; systemctl reset-failed nixos-upgrade 2>/dev/null || true")

	l.files.Set("buildSeconds", 6)
	ended := l.begin(t.Context(), brisk())
	awaitPhase(s, "building")
	other := openLaptop(t, s.Project())
	other.Who, other.From = "bob", "desk"
	_, err = other.update(brisk())
	other.assertCode(deploy.CodeBusy, err)
	assert.ErrorContains(t, err, "alice")
	assert.ErrorContains(t, err, "laptop")
	end := l.wait(ended)
	require.NoError(t, end.err, "the first goes on: %s", l.story)
	l.assertDeployed(s)
}
