package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newestRun is a line of shell that finds the newest run's folder.
const newestRun = `run=$(ls -d /var/lib/vps/runs/* 2>/dev/null | tail -n 1)`

// awaitPhase waits until the run that is under way has reached a phase.
func awaitPhase(s *e2e.Server, phase string) {
	s.Exec(fmt.Sprintf(`for i in $(seq 1200); do
			%s
			[ -z "$run" ] || [ -e "$run/ended" ] || ! grep -q '^[0-9]* %s' "$run/status" || exit 0
			sleep 0.05
		done 2>/dev/null
		exit 1`, newestRun, phase))
}

// stopMidCommit has the supervisor of the next run stop as soon as a line of shell
// is true, and never go on. The toy's programs that a commit calls ask for it, so
// no step is missed, however slow the machine.
func stopMidCommit(s *e2e.Server, reached string) {
	s.Exec("echo '" + reached + "' >/run/stop-when")
}

// awaitStop waits until it has.
func awaitStop(s *e2e.Server) {
	s.Await("[ -e /run/stopped ]", time.Minute)
	s.Exec("[ -e /var/lib/vps/intent ]")
}

// recovery is the unit with which our nix/ decides an interrupted commit at the
// start of the server.
const recovery = `[Unit]
ConditionPathExists=/var/lib/vps/intent
ConditionPathExists=/var/lib/vps/supervisor.sh
X-RestartIfChanged=false

[Service]
Type=oneshot
Environment=HOME=/root PATH=/run/current-system/sw/bin
ExecStart=/bin/sh /var/lib/vps/supervisor.sh recover

[Install]
WantedBy=multi-user.target
`

func TestServerKilledDuringTheSwitchComesUpAsItWas(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	before := stand(s)

	l.files.Set("activationSeconds", 600)
	ended := l.begin(t.Context(), brisk())
	awaitPhase(s, "switching")
	s.Kill()
	s.Boot()
	assert.Equal(t, before, stand(s))
	assert.Equal(t, "active", s.Unit("hello.service"))

	end := l.wait(ended)
	l.assertCode(deploy.CodeRolledBack, end.err)

	l.files.Set("activationSeconds", 0)
	l.files.Set("note", "the next")
	assert.Equal(t, deploy.OutcomeUpdated, l.mustUpdate().Outcome)
	l.assertDeployed(s)
}

// Each condition comes true at one step of the commit. What decides is whether the
// server starts into the new system.
func TestServerKilledDuringTheCommitIsWhollyOldOrNew(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.files.Write("nix/units/vps-recover.service", recovery)
	l.files.Set("note", "recovers")
	l.mustUpdate()
	for _, step := range []struct {
		name, reached string
		finished      bool
	}{
		{"intent", `[ -e /var/lib/vps/intent ]`, false},
		{"profile", `[ "$(readlink /nix/var/nix/profiles/system)" != "$(cat /run/profile)" ]`, false},
		{"boot default", `! cmp -s /boot/default /run/boots`, true},
		{"tree", `grep -q tree /etc/nixos/mark`, true},
	} {
		before := stand(s)
		l.files.Set("note", step.name)
		l.files.Write("nix/mark", step.name)
		s.Exec("cp /boot/default /run/boots; readlink /nix/var/nix/profiles/system >/run/profile")
		stopMidCommit(s, step.reached)
		ended := l.begin(t.Context(), brisk())
		awaitStop(s)
		s.Kill()
		s.Boot()
		s.Await("[ ! -e /var/lib/vps/intent ]", time.Minute)
		s.Await("! systemctl is-active vps-recover | grep -q activating", time.Minute)

		is := stand(s)
		end := l.wait(ended)
		if step.finished {
			l.assertDeployed(s)
			assert.NotEqual(t, before.Current, is.Current, step.name)
			assert.NoError(t, end.err, step.name)
		} else {
			assert.Equal(t, before, is, "%s: wholly old", step.name)
			l.assertCode(deploy.CodeRolledBack, end.err)
		}
	}
	l.files.Set("note", "the next")
	l.mustUpdate()
	l.assertDeployed(s)
}

// Without that unit and with nobody following, the next run decides, and then
// does its own work.
func TestNextRunDecidesAnInterruptedCommit(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	l.files.Set("note", "interrupted")
	l.files.Write("nix/mark", "")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stopMidCommit(s, `[ -e /etc/nixos/mark ]`)
	ended := l.begin(ctx, brisk())
	awaitStop(s)
	interrupt()
	l.assertCode(deploy.CodeUnknown, l.wait(ended).err)
	s.Kill()
	s.Boot()
	s.Exec("[ -e /var/lib/vps/intent ]")
	status, err := l.Status(t.Context(), "web", 1)
	require.NoError(t, err)
	assert.Equal(t, "commit interrupted", status[0].State)

	l.files.Set("note", "the next")
	assert.Equal(t, deploy.OutcomeUpdated, l.mustUpdate().Outcome)
	l.assertDeployed(s)
}

func TestPowerCutRightAfterTheCommitKeepsIt(t *testing.T) {
	t.Parallel()
	for _, journal := range []bool{true, false} {
		t.Run(fmt.Sprintf("journal written: %v", journal), func(t *testing.T) {
			t.Parallel()
			s := e2e.Start(t, e2e.OnDisk())
			l := newLaptop(t, s)
			for i := range 50 {
				l.files.Write(fmt.Sprintf("nix/many/%d.nix", i), strings.Repeat("{ }\n", i+1))
			}
			l.files.Set("note", "new")
			r := l.mustUpdate()
			s.CutPower(journal)
			s.Boot()

			assert.Equal(t, 2, r.After)
			is := stand(s)
			assert.Equal(t, l.tree(), is.Tree)
			assert.Equal(t, is.Profile, is.Current)
			assert.Equal(t, is.Profile, is.Default)
			assert.Empty(t, s.Exec("find /etc/nixos /var/lib/vps/trees /var/lib/vps/generations /var/lib/vps/record -type f -empty"))
			assert.Equal(t, deploy.OutcomeNothing, l.mustUpdate().Outcome)
			l.files.Set("note", "newer")
			l.mustUpdate()
			l.assertDeployed(s)
		})
	}
}

// Until the commit nothing persistent changes, so a power cut takes all of it.
func TestPowerCutBeforeTheCommitIsARollback(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.OnDisk())
	l := newLaptop(t, s)
	l.mustUpdate()
	before := stand(s)
	l.files.Set("activationSeconds", 600)
	ended := l.begin(t.Context(), brisk())
	awaitPhase(s, "switching")
	s.CutPower(true)
	s.Boot()
	assert.Equal(t, before, stand(s))
	l.assertCode(deploy.CodeRolledBack, l.wait(ended).err)
	l.files.Set("activationSeconds", 0)
	l.mustUpdate()
	l.assertDeployed(s)
}

func TestKilledSupervisorLeavesTheWatchdog(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	before := stand(s)
	for _, phase := range []string{"switching", "confirming"} {
		l.files.Set("note", phase)
		l.files.Set("activationSeconds", map[string]int{"switching": 600}[phase])
		o := brisk()
		o.SwitchTimeout = 10 * time.Second
		o.Confirm = 15 * time.Second
		o.Settle = 14 * time.Second
		ended := l.begin(t.Context(), o)
		awaitPhase(s, phase)
		s.Exec("systemctl kill --signal KILL 'vps-run-*.service'")
		l.assertCode(deploy.CodeRolledBack, l.wait(ended).err)
		assert.Equal(t, before, stand(s), phase)
		assert.Equal(t, "active", s.Unit("sshd.service"))
		assertTidy(t, s)
	}
	l.files.Set("activationSeconds", 0)
	l.mustUpdate()
	l.assertDeployed(s)
}
