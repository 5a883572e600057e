package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deadlines are the timers of runs that are still armed.
const deadlines = "systemctl list-units --all --plain --no-legend 'vps-*.timer'"

// systemd 262 stops none of several units if one of them is absent: there, the timers
// of the watchdog stayed armed after every run.
func TestRunsOnTheNewestSystemd(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Newest())
	version := s.Exec("systemctl --version | sed -n '1s/^systemd \\([0-9]*\\).*/\\1/p'")
	require.GreaterOrEqual(t, version, "262")
	l := newLaptop(t, s)
	l.mustUpdate()
	assert.Empty(t, s.Exec(deadlines), "confirmed")
	first := l.assertDeployed(s)

	l.files.Unit("bad.service", "/bin/false")
	_, err := l.update(brisk())
	l.assertCode(deploy.CodeRolledBack, err)
	assert.ErrorContains(t, err, "bad.service")
	assert.Empty(t, s.Exec(deadlines), "rejected")
	assert.Equal(t, first, stand(s))

	l.files.Remove("nix/units/bad.service")
	l.files.Set("note", "killed")
	o := brisk()
	o.Confirm, o.Settle = 15*time.Second, 14*time.Second
	ended := l.begin(t.Context(), o)
	awaitPhase(s, "confirming")
	s.Exec("systemctl kill --signal KILL 'vps-run-*.service'")
	l.assertCode(deploy.CodeRolledBack, l.wait(ended).err)
	assert.Equal(t, first, stand(s), "the watchdog acts")
	assert.Empty(t, s.Exec(deadlines), "its supervisor was killed")

	l.files.Set("note", "again")
	l.mustUpdate()
	_, err = l.rollback(0)
	require.NoError(t, err, "%s", l.story)
	assert.Equal(t, first.Current, stand(s).Current)
	assert.Empty(t, s.Exec(deadlines), "rolled back")
	assertTidy(t, s)
}

// A user whose services run without a login owns the manager that root asks about
// them. This one takes what it can of whoever asks, and never answers.
func TestManagerOfAUserThatNeverAnswers(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]e2e.Option{"systemd": nil, "newest systemd": {e2e.Newest()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := e2e.Start(t, options...)
			l := newLaptop(t, s)
			l.mustUpdate()
			attack, err := os.ReadFile(filepath.Join("testdata", "greedy.pl"))
			require.NoError(t, err)
			s.Exec("cat >/home/openclaw/greedy.pl <<'END'\n" + string(attack) + "END\nchmod 0644 /home/openclaw/greedy.pl")
			s.Exec("systemd-run --quiet --unit=greedy --uid=openclaw /usr/bin/perl /home/openclaw/greedy.pl /run/user/$(id -u openclaw)/systemd/private")
			s.Await("[ -e /tmp/greedy.ready ]", time.Minute)

			l.files.Set("note", "all the same")
			began := time.Now()
			l.mustUpdate()
			assert.Less(t, time.Since(began), time.Minute)
			l.assertDeployed(s)
			took := s.Read("/tmp/greedy.took")
			require.Contains(t, took, "asked by", "root has asked")
			assert.NotContains(t, took, "/var/lib/vps/lock")
			assert.NotContains(t, took, "/alive")
			assert.NotContains(t, took, "/run/vps")

			// The server's lock is free while the user still holds what it has got.
			l.files.Set("note", "and once more")
			l.mustUpdate()
			s.Exec("flock -n /var/lib/vps/lock true")
		})
	}
}
