package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQueryArgs(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"-G", "-T", "--", "web"}, queryArgs(query{name: "web"}, ""))
	assert.Equal(t,
		[]string{"-G", "-T", "-F", "/f", "-o", "HostName=fe80::1%%eth0", "-l", "me", "-p", "24", "--", "web"},
		queryArgs(query{name: "web", hostName: "fe80::1%eth0", user: "me", port: 24}, "/f"))
}

// fakeSSH answers every question with out, or fails.
func fakeSSH(t *testing.T, out string, err error) *Resolver {
	t.Helper()
	r := resolver(t, "", "")
	r.Program = "/usr/bin/ssh"
	r.Run = func(context.Context, string, ...string) ([]byte, error) { return []byte(out), err }
	return r
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	long := "hostname " + strings.Repeat("x", maxAnswer+1)
	for out, want := range map[string]string{
		"":                                     "names no hostname, user and port",
		"usage: dbclient [options]\n":          "names no hostname, user and port",
		"hostname x\nuser y\nport z\n":         `"z" is not a port`,
		"hostname x\x1b[2J\nuser y\nport 22\n": "contains a control character",
		long:                                   "token too long",
	} {
		_, err := fakeSSH(t, out, nil).Resolve(context.Background(), "a.example")
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, `ssh_config for host "a.example": /usr/bin/ssh -G: `)
		assert.Contains(t, hint(t, err), "VPS_SSH_CONFIG=none")
	}
	broken := errors.New("exit status 255")
	_, err := fakeSSH(t, "", broken).Resolve(context.Background(), "a.example")
	assert.ErrorIs(t, err, broken)
}

// Older releases leave ~ and tokens in every path; none quotes blanks in lists.
func TestAnswerOfAnOlderRelease(t *testing.T) {
	t.Parallel()
	r := fakeSSH(t, "user u\nhostname h.example\nport 24\nidentityagent ~/%r.sock\nuserknownhostsfile ~/a b ~/%h /x/%h\n"+
		"globalknownhostsfile /etc/a /etc/b c\nproxycommand none\nproxyjump none\nsomething new\n", nil)
	h := one(t, r, "a.example")
	assert.Equal(t, "/home/me/u.sock", h.IdentityAgent)
	assert.Equal(t, []string{"/home/me/a b", "/home/me/h.example", "/x/%h"}, h.KnownHosts)
	assert.Equal(t, []string{"/etc/a", "/etc/b c"}, h.GlobalKnownHosts)
	assert.Empty(t, h.Jumps)
}

// sshScript is a program in place of ssh.
func sshScript(t *testing.T, body string) *Resolver {
	t.Helper()
	r := resolver(t, "", "")
	r.Program = filepath.Join(t.TempDir(), "ssh")
	require.NoError(t, program.Write(r.Program, "#!/bin/sh\n"+body))
	return r
}

func TestSSHProgramComplains(t *testing.T) {
	t.Parallel()
	r := sshScript(t, "echo 'Pseudo-terminal will not be allocated' >&2; echo '/c line 3: Bad configuration option: x' >&2; exit 255\n")
	_, err := r.Resolve(context.Background(), "a.example")
	assert.ErrorContains(t, err, "/c line 3: Bad configuration option: x")
	assert.NotContains(t, err.Error(), "Pseudo")
	_, err = sshScript(t, "exit 3\n").Resolve(context.Background(), "a.example")
	assert.ErrorContains(t, err, "exit status 3")
}

// Keeps away: a Match exec that hangs, and a Ctrl-C that does not end it.
func TestSSHProgramIsEndedWithItsContext(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	require.NoError(t, syscall.Mkfifo(started, 0o600))
	r := sshScript(t, "echo > "+started+"; exec sleep 600\n")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = os.ReadFile(started) // until the script has written
		cancel()
	}()
	_, err := r.Resolve(ctx, "a.example")
	assert.ErrorIs(t, err, context.Canceled)
}

// The probe must reach the same files by any name, and leave nothing behind.
func TestProbeQuotesPaths(t *testing.T) {
	t.Parallel()
	r := withSSH(t, resolver(t, "", ""))
	r.SSHConfig = write(t, t.TempDir(), `odd [a] * "q" \ ?/ssh config`, "Host web\n HostName w.example\n Port 22\n")
	h := one(t, r, "web")
	assert.Equal(t, []any{"w.example", 22, true}, []any{h.Address, h.Port, h.PortDeclared})
}

func TestProbeLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	one(t, withSSH(t, resolver(t, "", "")), "a.example")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range left {
		assert.NotContains(t, f.Name(), "vps-ssh-config")
	}
}

func TestSystemSSHConfig(t *testing.T) {
	t.Parallel()
	prefix := t.TempDir()
	program := filepath.Join(prefix, "bin/ssh")
	assert.Equal(t, "/etc/ssh/ssh_config", systemSSHConfig(program))
	assert.Equal(t, "/etc/ssh/ssh_config", systemSSHConfig(""))
	own := write(t, prefix, "etc/ssh/ssh_config", "")
	assert.Equal(t, own, systemSSHConfig(program))
}

func TestNewResolverReadsItsSurroundings(t *testing.T) {
	for value, want := range map[string]string{"": "", "none": "none", os.DevNull: "none", "/x/y": "/x/y"} {
		t.Setenv("VPS_SSH_CONFIG", value)
		r, err := NewResolver(nil)
		require.NoError(t, err)
		assert.Equal(t, want, r.SSHConfig)
		assert.NotEmpty(t, r.Home)
		assert.NotEmpty(t, r.User)
		assert.Equal(t, DefaultImage, r.Config.Install.Image)
	}
	t.Setenv("VPS_SSH_CONFIG", "rel")
	t.Setenv("PATH", t.TempDir())
	r, err := NewResolver(Default())
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(r.Dir, "rel"), r.SSHConfig)
	assert.Empty(t, r.Program)
}
