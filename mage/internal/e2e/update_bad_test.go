package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fault is one way in which a configuration is bad.
type fault struct {
	name   string
	change func(*e2e.Project)
	code   deploy.Code
	says   string // part of the error or of the story
}

func set(key string, value any) func(*e2e.Project) {
	return func(p *e2e.Project) { p.Set(key, value) }
}

// endure deploys each fault to one server, which must stay as it was each time,
// and then takes a good update.
func endure(t *testing.T, o deploy.UpdateOptions, faults []fault) {
	t.Helper()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	before := stand(s)
	for _, f := range faults {
		bad := openLaptop(t, s.Project())
		f.change(bad.files)
		began := time.Now()
		_, err := bad.update(o)
		t.Logf("%s: %s", f.name, time.Since(began).Round(100*time.Millisecond))
		require.Error(t, err, "%s\n%s", f.name, bad.story)
		bad.assertCode(f.code, err)
		assert.Contains(t, err.Error()+"\n"+bad.story.String(), f.says, f.name)
		assert.Equal(t, before, stand(s), f.name)
		assert.Equal(t, "active", s.Unit("sshd.service"), f.name)
		assert.Equal(t, "active", s.Unit("hello.service"), f.name)
		assertTidy(t, s)
		client, err := login(s, 2222)
		if assert.NoError(t, err, "%s: reachable again", f.name) {
			_ = client.Close()
		}
	}
	l.files.Set("note", "good")
	l.mustUpdate()
	l.assertDeployed(s)
}

func TestUpdateThatCannotBeBuiltChangesNothing(t *testing.T) {
	t.Parallel()
	endure(t, brisk(), []fault{
		{"build", set("buildFails", true), deploy.CodeFailed, "this build was asked to fail"},
		{"evaluation", set("evaluationFails", true), deploy.CodeFailed, "services.toy"},
		{"inhibited", set("inhibitors", map[string]string{"dbus-implementation": "dbus"}), deploy.CodeFailed, "without a reboot"},
		{"another init", set("initInterfaceVersion", "5"), deploy.CodeFailed, "until you reboot"},
	})
}

func TestUpdateThatSwitchesBadlyIsRolledBack(t *testing.T) {
	t.Parallel()
	endure(t, brisk(), []fault{
		{"activation", set("activationFails", true), deploy.CodeRolledBack, "the activation script of the new system failed"},
		{"unknown code", set("exitCode", 3), deploy.CodeRolledBack, "failed with 3"},
		{"boot loader", set("bootFails", true), deploy.CodeRolledBack, "Failed to install bootloader"},
	})
}

func TestUpdateWhoseUnitsFailIsRolledBack(t *testing.T) {
	t.Parallel()
	o := brisk()
	o.Settle = 4 * time.Second
	endure(t, o, []fault{
		{"at once", func(p *e2e.Project) { p.Unit("bad.service", "/bin/false") }, deploy.CodeRolledBack, "bad.service"},
		{"later", func(p *e2e.Project) { p.Unit("late.service", "/bin/sh -c 'sleep 1; exit 1'") }, deploy.CodeRolledBack, "late.service"},
		{"again and again", func(p *e2e.Project) {
			p.Write("nix/units/loop.service", "[Service]\nExecStart=/bin/sh -c 'sleep 0.5; exit 1'\nRestart=always\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n")
		}, deploy.CodeRolledBack, "loop.service"},
		{"of a user", func(p *e2e.Project) {
			p.Write("nix/user-units/sad.service", "[Unit]\nConditionUser=openclaw\n[Service]\nExecStart=/bin/false\n\n[Install]\nWantedBy=default.target\n")
		}, deploy.CodeRolledBack, "sad.service of openclaw"},
	})
}

// Nobody can log in to say that all is well, so the watchdog undoes it.
func TestUpdateThatLocksOutIsRolledBack(t *testing.T) {
	t.Parallel()
	o := brisk()
	o.Confirm = 6 * time.Second
	endure(t, o, []fault{
		{"no sshd", set("sshEnable", false), deploy.CodeRolledBack, "nobody confirmed"},
		{"no network", set("network", false), deploy.CodeRolledBack, "nobody confirmed"},
	})
}

func TestUpdateWhoseSwitchHangsIsRolledBack(t *testing.T) {
	t.Parallel()
	o := brisk()
	o.SwitchTimeout = 8 * time.Second
	endure(t, o, []fault{
		{"hangs", set("activationSeconds", 600), deploy.CodeRolledBack, "did not end within"},
		{"hangs, deaf", func(p *e2e.Project) {
			p.Set("activationSeconds", 600)
			p.Set("activationIgnoresSignals", true)
			p.Set("sshPort", 2200)
		}, deploy.CodeRolledBack, "did not end within"},
	})
}

// The port moves to the one that vps.yaml now declares: the way in is the old
// one, the confirmation comes over the new one. And back.
func TestUpdateThatMovesThePort(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	for _, port := range []int{2200, 2222} {
		host := s.Host("web")
		host.Port = port
		l.files.Hosts(host)
		l.files.Set("sshPort", port)
		moved := openLaptop(t, l.files)
		moved.mustUpdate()
		moved.assertDeployed(s)
		assert.Contains(t, moved.story.String(), "where it answered last")
		client, err := login(s, port)
		require.NoError(t, err)
		_ = client.Close()
		again := openLaptop(t, l.files)
		assert.Equal(t, deploy.OutcomeNothing, again.mustUpdate().Outcome)
		assert.NotContains(t, again.story.String(), "where it answered last", "remembered")
	}
}

// What is refused before anything is sent leaves no run behind either.
func TestUpdateOfBadInputIsRefused(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)

	for _, c := range []struct {
		name   string
		server string // run there first
		undo   string
		change func(*e2e.Project)
		code   deploy.Code
		says   string
	}{
		{"symlink", "mkdir /etc/elsewhere && ln -s elsewhere /etc/nixos", "rm /etc/nixos", nil, deploy.CodeFailed, "symlink"},
		{"mount point", "mkdir -p /etc/nixos && mount -t tmpfs none /etc/nixos", "umount /etc/nixos && rmdir /etc/nixos", nil, deploy.CodeFailed, "mount point"},
		{"not NixOS", "mv /etc/NIXOS /etc/NIXOS-", "mv /etc/NIXOS- /etc/NIXOS", nil, deploy.CodeFailed, "does not run NixOS"},
		{"plain secrets", "", "", func(p *e2e.Project) { p.Write("secrets/secrets.yaml", "gateway-token: plain\n") }, deploy.CodeUsage, "secrets.yaml"},
		{"no flake", "", "", func(p *e2e.Project) { p.Remove("nix/flake.nix") }, deploy.CodeUsage, "flake.nix"},
		{"host key", "", "", func(p *e2e.Project) {
			host := s.Host("web")
			host.HostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
			p.Hosts(host)
		}, deploy.CodeFailed, "host key"},
		{"no key", "", "", func(p *e2e.Project) {
			host := s.Host("web")
			host.KeyFile = "/nonexistent"
			p.Hosts(host)
		}, deploy.CodeFailed, "/nonexistent"},
	} {
		if c.server != "" {
			s.Exec(c.server)
		}
		l := newLaptop(t, s)
		if c.change != nil {
			c.change(l.files)
			l = openLaptop(t, l.files)
		}
		before := stand(s)
		_, err := l.update(brisk())
		if assert.Error(t, err, c.name) {
			assert.Equal(t, int(c.code), deploy.ExitStatus(err), "%s: %v", c.name, err)
			assert.Contains(t, strings.ToLower(err.Error()), strings.ToLower(c.says), c.name)
		}
		assert.Equal(t, before, stand(s), c.name)
		if c.undo != "" {
			s.Exec(c.undo)
		}
	}
	assert.Empty(t, s.Exec("ls /var/lib/vps/runs 2>/dev/null || true"), "no run was ever started")
}
