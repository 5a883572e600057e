package vpstest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/vpstest"
)

// activate makes a system of s the running one, by its own switch.
func activate(t *testing.T, s *vpstest.Server, system vpstest.System) (code int) {
	t.Helper()
	path, err := s.AddSystem(t.Name(), system)
	require.NoError(t, err)
	code, err = s.Activate(path)
	require.NoError(t, err)
	return code
}

func back(t *testing.T, s *vpstest.Server) {
	t.Helper()
	code, err := s.Activate(s.BootDefault())
	require.NoError(t, err)
	assert.Zero(t, code)
}

func TestSystemThatStopsSSH(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	assert.Zero(t, activate(t, s, vpstest.System{SSH: vpstest.SSHStopped}))
	assert.Error(t, client.Wait(), "open connections are cut")
	_, err := dialPort(s, s.Port())
	assert.ErrorContains(t, err, "refused")
	back(t, s)
	dial(t, s)
}

func TestSystemThatDropsTheNetwork(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	assert.Zero(t, activate(t, s, vpstest.System{SSH: vpstest.SSHDropped}))
	answer := make(chan error, 1)
	go func() {
		_, _, err := client.SendRequest("ping", true, nil)
		answer <- err
	}()
	select {
	case err := <-answer:
		assert.Fail(t, "an answer came", "%v", err)
	case <-time.After(50 * time.Millisecond):
	}
	back(t, s)
	<-answer
	dial(t, s)
}

func TestSystemThatDeniesLogins(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	assert.Zero(t, activate(t, s, vpstest.System{SSH: vpstest.SSHDenied}))
	_, err := dialPort(s, s.Port())
	assert.ErrorContains(t, err, "unable to authenticate")
	assert.Equal(t, "still in\n", runCommand(t, client, command("echo still in")))
	back(t, s)
	dial(t, s)
}

func TestSystemThatChangesThePort(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	assert.Zero(t, activate(t, s, vpstest.System{Port: s.SparePort()}))
	_, err := dialPort(s, s.Port())
	assert.ErrorContains(t, err, "refused")
	second, err := dialPort(s, s.SparePort())
	require.NoError(t, err)
	defer second.Close()
	assert.Equal(t, "still in\n", runCommand(t, client, command("echo still in")))
	back(t, s)
	dial(t, s)
	_, err = dialPort(s, s.SparePort())
	assert.ErrorContains(t, err, "refused")
}

func TestSwitchThatFails(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	was := s.CurrentSystem()
	assert.Equal(t, 1, activate(t, s, vpstest.System{Exit: 1, Early: true}))
	assert.Equal(t, was, s.CurrentSystem())
	assert.Equal(t, 1, activate(t, s, vpstest.System{Version: "2", Inhibited: "dbus-implementation"}))
	assert.Equal(t, was, s.CurrentSystem())
	assert.Equal(t, 4, activate(t, s, vpstest.System{Version: "3", Units: []vpstest.Unit{{Name: "web.service"}}}))
	assert.NotEqual(t, was, s.CurrentSystem())
	assert.Equal(t, "failed", s.Unit("", "web.service"))
	back(t, s)
	assert.Equal(t, "inactive", s.Unit("", "web.service"))
}

func TestSystemThatIsHardToLeave(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	was := s.CurrentSystem()
	assert.Zero(t, activate(t, s, vpstest.System{LeaveFails: 1}))
	code, err := s.Activate(was)
	require.NoError(t, err)
	assert.Equal(t, 1, code)
	assert.NotEqual(t, was, s.CurrentSystem())
	back(t, s)
	assert.Equal(t, was, s.CurrentSystem())
}

func TestSwitchTakesItsLockWithoutWaiting(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	hold := `exec 9>>"$VPS_ROOT/run/nixos/switch-to-configuration.lock"; flock 9;`
	_, stderr, err := output(t, client, hold+` "$VPS_ROOT/run/current-system/bin/switch-to-configuration" test`)
	require.Error(t, err)
	assert.Equal(t, "Could not acquire lock\n", stderr)
	_, stderr, err = output(t, client, `"$VPS_ROOT/run/current-system/bin/switch-to-configuration" nonsense`)
	require.Error(t, err)
	assert.Contains(t, stderr, "Usage")
}

func TestDiskThatFills(t *testing.T) {
	t.Parallel()
	s, err := vpstest.New(vpstest.WithDiskSize(4 << 20))
	if err != nil {
		t.Skipf("no disk of its own here: %v", err)
	}
	defer func() { assert.NoError(t, s.Close()) }()
	assert.Zero(t, activate(t, s, vpstest.System{FillDisk: true}))
	_, _, err = output(t, dial(t, s), "echo more >file")
	assert.Error(t, err)
	require.NoError(t, s.FreeDisk())
	runCommand(t, dial(t, s), command("echo more >file"))
}
