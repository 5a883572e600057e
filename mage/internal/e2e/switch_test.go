package e2e_test

import (
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const stc = "/bin/switch-to-configuration "

// switchCode runs "test" and returns its exit code and all that it said.
func switchCode(t *testing.T, s *e2e.Server, system, action string) (code, said string) {
	t.Helper()
	said, _ = s.Try(system + stc + action + " >/tmp/said 2>&1; echo $?")
	return said, s.Read("/tmp/said")
}

// The stand-in is worth what it shares with the real one: its exit codes, what
// it says with each, and what it leaves alone.
func TestSwitchExitCodes(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	first := s.Current()

	tests := []struct {
		name, key string
		value     any
		action    string
		code      string
		says      string
		switched  bool
	}{
		{"nothing wrong", "note", "changed", "test", "0", "activating the configuration...", true},
		{"activation fails", "activationFails", true, "test", "2", "Failed to run activate script", true},
		{"another init interface", "initInterfaceVersion", "5", "test", "100", "until you reboot", false},
		{"inhibited", "inhibitors", map[string]string{"dbus-implementation": "dbus"}, "test", "1",
			"dbus-implementation : broker -> dbus", false},
		{"inhibited, asked first", "inhibitors", map[string]string{"dbus-implementation": "dbus"}, "check", "1",
			"Pre-switch checks failed", false},
		{"a new inhibitor is none", "inhibitors", map[string]string{"kernel": "6"}, "test", "0", "", true},
		{"boot is never inhibited", "inhibitors", map[string]string{"dbus-implementation": "x"}, "boot", "0", "", false},
		{"boot loader fails", "bootFails", true, "boot", "1", "Failed to install bootloader", false},
		{"any code at all", "exitCode", 3, "test", "3", "", true},
	}
	for _, tc := range tests {
		project := e2e.NewProject(t)
		project.Set(tc.key, tc.value)
		system := s.Build(project)
		code, said := switchCode(t, s, system, tc.action)
		assert.Equal(t, tc.code, code, "%s: %s", tc.name, said)
		assert.Contains(t, said, tc.says, tc.name)
		want := first
		if tc.switched {
			want = system
		}
		assert.Equal(t, want, s.Current(), tc.name)
		code, said = switchCode(t, s, first, "switch")
		require.Equal(t, "0", code, "%s: the way back: %s", tc.name, said)
	}
}

func TestSwitchStartsAndStopsRealUnits(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	first := s.Current()
	project := e2e.NewProject(t)
	project.Remove("nix/units/hello.service")
	project.Unit("other.service", "/bin/sleep infinity")
	project.Unit("bad.service", "/bin/false")
	project.Set("sshPort", 2200)
	second := s.Build(project)

	code, said := switchCode(t, s, second, "dry-activate")
	require.Equal(t, "0", code)
	assert.Contains(t, said, "would stop the following units: hello.service, sshd.service")
	assert.Equal(t, "active", s.Unit("hello.service"))

	code, said = switchCode(t, s, second, "test")
	assert.Equal(t, "4", code)
	assert.Contains(t, said, "warning: the following units failed: bad.service")
	assert.Equal(t, "inactive", s.Unit("hello.service"))
	assert.Equal(t, "active", s.Unit("other.service"))
	assert.Equal(t, "failed", s.Unit("bad.service"))
	_, err := login(s, 2222)
	assert.Error(t, err)
	_, err = login(s, 2200)
	assert.NoError(t, err)

	code, _ = switchCode(t, s, first, "test")
	assert.Equal(t, "0", code, "a failed unit that is gone is forgotten")
	assert.Equal(t, "active", s.Unit("hello.service"))
	assert.Equal(t, "inactive", s.Unit("other.service"))
	_, err = login(s, 2222)
	assert.NoError(t, err)
}

// A switch that is killed half way keeps what it had stopped in a list, and the
// next one starts it; while it lives it holds the lock and nobody waits for it.
func TestHungSwitchHoldsTheLockAndTheNextOneFinishesIt(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	first := s.Current()
	project := e2e.NewProject(t)
	project.Set("activationSeconds", 600)
	project.Set("activationIgnoresSignals", true)
	project.Set("sshPort", 2200)
	second := s.Build(project)

	s.Exec("systemd-run --quiet --unit hung " + second + stc + "test")
	s.Await("! systemctl is-active -q sshd", time.Minute)
	code, said := switchCode(t, s, first, "test")
	assert.Equal(t, "11", code)
	assert.Contains(t, said, "Could not acquire lock")

	s.Exec("systemctl kill --signal KILL hung")
	s.Await("! systemctl is-active -q hung", time.Minute)
	code, said = switchCode(t, s, first, "test")
	require.Equal(t, "0", code, said)
	assert.Equal(t, "active", s.Unit("sshd.service"))
}

func TestMissingSecretFailsTheActivation(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	project := e2e.NewProject(t)
	project.Write("nix/modules/sops.nix", `{ sops.secrets."nobody-has-it" = { }; }`)
	code, said := switchCode(t, s, s.Build(project), "test")
	assert.Equal(t, "2", code)
	assert.Contains(t, said, "failed to decrypt 'nobody-has-it'")
}

func TestUpgradeServiceRebuildsWhatIsInEtcNixos(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	project := e2e.NewProject(t)
	project.Set("upgradeSeconds", 2)
	s.Exec(s.Build(project) + stc + "test")

	project.Set("note", "newer")
	s.Place(project, "/etc/nixos")
	s.Exec("systemctl start --no-block nixos-upgrade")
	s.Await("systemctl is-active nixos-upgrade | grep -q activating", time.Minute)
	s.Await("systemctl is-active nixos-upgrade | grep -q inactive", 2*time.Minute)
	assert.Equal(t, 2, s.Generation())
	assert.Equal(t, s.Profile(), s.Current())
	assert.Equal(t, s.Profile(), s.Default())
	assert.Contains(t, s.Read("/run/nixos/switch-environment"), "NIXOS_INSTALL_BOOTLOADER=0")
}

// What status shows of the last upgrade is what systemd says, whatever clock the
// server shows to people.
func TestStatusTellsOfTheLastUpgrade(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	outcome := func() deploy.Upgrade {
		status, err := l.Status(t.Context(), "web", 1)
		require.NoError(t, err)
		return status[0].Upgrade
	}
	before := outcome()
	assert.Equal(t, run.UpgradeUnknown, before.Outcome, "none since the start")

	// As NixOS's timer does, this one keeps systemd from forgetting the unit.
	s.Exec(`mkdir -p /run/systemd/system/nixos-upgrade.service.d
printf '[Timer]\nOnCalendar=2099-01-01\n' >/run/systemd/system/nixos-upgrade.timer
printf '[Service]\nExecStart=\nExecStart=/bin/false\n' >/run/systemd/system/nixos-upgrade.service.d/fails.conf
ln -sf /usr/share/zoneinfo/Asia/Kathmandu /etc/localtime
systemctl daemon-reload; systemctl start nixos-upgrade.timer; ! systemctl start nixos-upgrade`)
	failed := outcome()
	assert.Equal(t, []string{run.UpgradeFailed, "exit-code"}, []string{failed.Outcome, failed.Result})
	assert.WithinDuration(t, time.Now(), failed.Ended, 10*time.Minute)

	s.Exec(`sed -i s/false/true/ /run/systemd/system/nixos-upgrade.service.d/fails.conf
systemctl daemon-reload; systemctl start nixos-upgrade`)
	assert.Equal(t, run.UpgradeSucceeded, outcome().Outcome)

	s.Exec(`sed -i 's/ExecStart=$/ExecCondition=\/bin\/false\nExecStart=/' /run/systemd/system/nixos-upgrade.service.d/fails.conf
systemctl daemon-reload; systemctl start nixos-upgrade`)
	assert.Equal(t, run.UpgradeSkipped, outcome().Outcome)
}

func TestBuildsThatFailSayWhere(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	tests := []struct {
		name, output, says string
		change             func(*e2e.Project)
	}{
		{"builder", e2e.Output(), "this build was asked to fail", func(p *e2e.Project) { p.Set("buildFails", true) }},
		{"evaluation", e2e.Output(), "The option `services.toy' does not exist", func(p *e2e.Project) { p.Set("evaluationFails", true) }},
		{"no such output", "vps-none", "does not provide attribute", func(*e2e.Project) {}},
		{"other architecture", "vps-arm", "required to build", func(*e2e.Project) {}},
	}
	for _, tc := range tests {
		if tc.output == e2e.Output() && tc.name == "other architecture" {
			tc.output = "vps-x86"
		}
		project := e2e.NewProject(t)
		tc.change(project)
		s.Place(project, "/etc/nixos")
		said, err := s.Try("cd /tmp && nixos-rebuild build --flake path:/etc/nixos#" + tc.output)
		require.Error(t, err, tc.name)
		assert.Contains(t, said, tc.says, tc.name)
	}
}
