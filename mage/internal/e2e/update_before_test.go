package e2e_test

import (
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An activation snippet that fails in the running system, too, blocked every update and
// every rollback, while the running system was said not to have come back.
func TestSnippetThatFailsInTheRunningSystem(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	sick := e2e.NewProject(t)
	sick.Set("activationFails", true)
	system := s.Build(sick)
	s.Exec("nix-env -p /nix/var/nix/profiles/system --set " + system + " && rm -rf /etc/nixos")
	code, said := switchCode(t, s, system, "switch")
	require.Equal(t, "2", code, said)

	l := newLaptop(t, s)
	l.files.Set("activationFails", true)
	for _, note := range []string{"asked for it", "known by now"} {
		l.files.Set("note", note)
		l.mustUpdate()
		l.assertDeployed(s)
	}
	_, err := l.rollback(0)
	require.NoError(t, err, "%s", l.story)
	l.files.Set("activationFails", false)
	l.mustUpdate()
	l.assertDeployed(s)
}

// A unit that no configuration declares can veto nothing: podman's health checks are
// transient, and a user's own service could keep out every update, also the one that
// removes it.
func TestUnitsThatNoConfigurationDeclares(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	s.Exec(`install -d -o openclaw /home/openclaw/.config /home/openclaw/.config/systemd /home/openclaw/.config/systemd/user
		printf '[Service]\nExecStart=/bin/false\n' >/home/openclaw/.config/systemd/user/own.service`)
	l.files.Unit("maker.service", `/bin/sh -c 'systemd-run --unit=0123-check /bin/false; `+
		`XDG_RUNTIME_DIR=/run/user/$$(id -u openclaw) setpriv --reuid=openclaw --regid=openclaw --init-groups `+
		`sh -c "systemctl --user daemon-reload; systemctl --user start own.service"; sleep infinity'`)
	o := brisk()
	o.Settle = 2 * time.Second
	_, err := l.update(o)
	require.NoError(t, err, "%s", l.story)
	l.assertDeployed(s)
	assert.Equal(t, "failed", s.Unit("0123-check.service"))
	assert.Contains(t, s.Exec(`XDG_RUNTIME_DIR=/run/user/$(id -u openclaw) setpriv --reuid=openclaw --regid=openclaw --init-groups systemctl --user list-units --state=failed`), "own.service")
}

// What is mounted below /etc/nixos was removed with the folder that the exchange took
// out of it: the update ended with 0, and the source was empty.
func TestMountsBelowTheTreeKeepTheirSource(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	before := stand(s)
	for _, source := range []string{"/run/elsewhere", "/var/elsewhere"} { // another file system, and the same
		for _, below := range []string{"/etc/nixos/inner", "/etc/.nixos-vps-left/inner"} {
			s.Exec("mkdir -p " + source + " " + below + " && echo precious >" + source + "/file && mount --bind " + source + " " + below)
			l.files.Set("note", source+below)
			_, err := l.update(brisk())
			l.assertCode(deploy.CodeFailed, err)
			assert.ErrorContains(t, err, "mount")
			assert.Equal(t, "precious", s.Read(source+"/file"))
			s.Exec("umount " + below + " && rmdir " + below)
			assert.Equal(t, before, stand(s))
		}
	}
	l.mustUpdate()
	l.assertDeployed(s)
	assert.Empty(t, s.Exec("ls -d /etc/.nixos-vps-* 2>/dev/null || true"))
}
