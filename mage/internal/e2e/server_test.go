package e2e_test

import (
	"net"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

func login(s *e2e.Server, port int) (*ssh.Client, error) {
	return dial(s.Address().String(), port, s.KeyFile(), s.HostKey())
}

func TestServerStartsAndLetsItsKeyIn(t *testing.T) {
	t.Parallel()
	before := time.Now()
	s := e2e.Start(t)
	t.Logf("started after %s", time.Since(before).Round(10*time.Millisecond))

	client, err := login(s, 2222)
	require.NoError(t, err)
	defer client.Close()
	out, err := say(client, "nixos-version; systemctl is-system-running; id -u")
	require.NoError(t, err, out)
	assert.Equal(t, "26.05.20260820.5880666 (Toy)\nrunning\n0\n", out)

	assert.Equal(t, s.Default(), s.Current())
	assert.Equal(t, s.Profile(), s.Booted())
	assert.Equal(t, 1, s.Generation())
	assert.Empty(t, s.Tree("/etc/nixos"), "a fresh server has no tree")
	assert.Equal(t, s.AgeIdentity, s.Read("/var/lib/sops-nix/key.txt"))
	assert.Equal(t, "active", s.Exec("setpriv --reuid=openclaw --regid=openclaw --clear-groups env XDG_RUNTIME_DIR=/run/user/$(id -u openclaw) systemctl --user is-active gateway"),
		"the lingering user has a manager with a service")
}

// The two ways back to a system: what runs is gone, what was made the default
// comes, whatever the profile says.
func TestKilledServerStartsItsDefault(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	first := s.Current()
	project := e2e.NewProject(t)
	project.Set("note", "second")
	second := s.Build(project)

	s.Exec(second + "/bin/switch-to-configuration test")
	s.Exec("nix-env -p /nix/var/nix/profiles/system --set " + second)
	assert.Equal(t, second, s.Current())
	s.Restart()
	assert.Equal(t, first, s.Current(), "the boot default decides, not the profile")
	assert.Equal(t, second, s.Profile())
	assert.NotEmpty(t, s.Tree("/etc/nixos"), "files outlive a kill")

	s.Exec(second + "/bin/switch-to-configuration boot")
	assert.Equal(t, first, s.Current())
	s.Restart()
	assert.Equal(t, second, s.Current())
	assert.Equal(t, second, s.Booted())
	_, err := login(s, 2222)
	assert.NoError(t, err, "the address stays the same")
}

func TestUnpluggedServerIsSilentAndComesBack(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	client, err := login(s, 2222)
	require.NoError(t, err)
	defer client.Close()

	s.Unplug()
	_, err = net.DialTimeout("tcp", net.JoinHostPort(s.Address().String(), "2222"), 300*time.Millisecond)
	require.Error(t, err)
	s.Plug()
	_, err = say(client, "true")
	require.NoError(t, err, "a connection survives a short gap")

	s.CutLogins()
	_, err = say(client, "true")
	assert.Error(t, err)
	again, err := login(s, 2222)
	require.NoError(t, err)
	assert.NoError(t, again.Close())
}
