package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/e2e/fresh"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// otherHostKey is a piece of shell that gives a server another host key.
const otherHostKey = "rm -f $root/etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f $root/etc/ssh/ssh_host_ed25519_key"

// The new system does not start; then something starts that shows another host
// key: nothing is sent to it. Once it is the right one, the same command goes on,
// and wipes nothing.
func TestE2EBootstrapOfAServerThatDoesNotComeBack(t *testing.T) {
	t.Parallel()
	r := rent(t, fresh.WithKnob("boot", `touch /run/off
while [ -e /run/off ]; do sleep 0.1; done
cp -a /disk/etc/ssh /disk/right
root=/disk; `+otherHostKey))
	r.deadline("boot", 8*time.Second)
	end := r.bootstrap()
	assert.Equal(t, 5, end.code)
	assert.Contains(t, end.stderr, "not done within 8s")
	assert.Contains(t, end.stderr, "state: the new system is on the disk; nothing answered as it on port 2222")
	assert.Contains(t, end.stderr, "next: look at the server in the provider's console")

	r.server.Await("rm /run/off", time.Minute) // it may be restarting just now
	r.server.Await("systemctl is-active sshd.service", time.Minute)
	end = r.bootstrap()
	assert.Equal(t, 5, end.code)
	assert.Contains(t, end.stderr, "is not the system that was installed")
	assert.Contains(t, end.stderr, "another host key, and nothing was sent to it")
	assert.Contains(t, end.stderr, "console")
	r.server.Exec("! test -e /etc/nixos && ! test -e /var/lib/vps")
	yaml, err := os.ReadFile(filepath.Join(r.project.Dir, "vps.yaml"))
	require.NoError(t, err)
	assert.NotContains(t, string(yaml), "hostKey")

	r.server.Exec("rm /etc/ssh/ssh_host_*; cp -a /right/ssh_host_* /etc/ssh/; systemctl restart sshd.service")
	end = r.bootstrap()
	r.assertOurs(end)
	assert.NotContains(t, end.stderr, "is going to be wiped")
}

// The server shows another host key in the middle of the install, when Nix logs
// in to copy the system: it gets neither that nor the age key, although
// nixos-anywhere would trust it.
func TestE2EBootstrapMeetsAnotherHostKeyBeforeTheClosure(t *testing.T) {
	t.Parallel()
	r := rent(t, fresh.WithKnob("disko", "root=; "+otherHostKey+"; systemctl restart ssh.service"))
	end := r.bootstrap()
	assert.Equal(t, 5, end.code)
	assert.Contains(t, end.stderr, "### Uploading the system closure ###")
	assert.Contains(t, end.stderr, "the server shows another host key, while copying the system")
	assert.Contains(t, end.stderr, "next: find out why")
	assert.NotContains(t, end.stderr, "### Copying extra files ###")
	// Over the connection that was made before, and that still stands.
	assert.Contains(t, end.stderr, "state: the server runs the installer in memory; its disk is erased, or half so; it must not be restarted")
	r.server.Exec("mountpoint -q /mnt && ! ls /mnt/nix/store/*toplevel* 2>/dev/null && ! test -e /mnt/var/lib/sops-nix")

	end = r.bootstrap()
	assert.Equal(t, 1, end.code)
	assert.Contains(t, end.stderr, "host key", "nor does the next run log in to it")
	r.server.Exec("! test -e /mnt/var/lib/sops-nix")
}
