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
	r.SSHConfig = write(t, t.TempDir(), "ssh_config", "")
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
	assert.Equal(t, "/home/me/u.sock", h.Agent)
	assert.Equal(t, []string{"/home/me/a b", "/home/me/h.example", "/x/%h"}, h.KnownHosts)
	assert.Equal(t, []string{"/etc/a", "/etc/b c"}, h.GlobalKnownHosts)
	assert.Empty(t, h.Jumps)
}

// sshScript is a program in place of ssh.
func sshScript(t *testing.T, body string) *Resolver {
	t.Helper()
	r := resolver(t, "", "")
	r.SSHConfig = write(t, t.TempDir(), "ssh_config", "")
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
	r := resolver(t, "", "")
	withSSH(t, r)
	r.SSHConfig = write(t, t.TempDir(), `odd [a] * "q" \ ?/ssh config`, "Host web\n HostName w.example\n Port 22\n")
	h := one(t, r, "web")
	assert.Equal(t, []any{"w.example", 22, true}, []any{h.Address, h.Port, h.PortDeclared})
}

func TestProbeLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	one(t, resolver(t, "", "# nothing"), "a.example")
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

// Keeps away: guesses about a file that only ssh can read.
func TestConfigWithoutSSHIsRefused(t *testing.T) {
	t.Parallel()
	r := resolver(t, "", "")
	r.SSHConfig = write(t, t.TempDir(), "ssh_config", "Host web\n HostName w.example\n")
	_, err := r.Resolve(t.Context(), "a.example")
	assert.ErrorContains(t, err, r.SSHConfig+" says how hosts are reached")
	assert.ErrorContains(t, err, "not installed")
	assert.Contains(t, hint(t, err), "VPS_SSH_CONFIG=none")
}

// Where no file can configure anything, ssh is not started to say so; it would
// have said the same.
func TestWithoutFilesSSHIsNotAsked(t *testing.T) {
	t.Parallel()
	asked := resolver(t, "", "# nothing")
	without := resolver(t, "", "")
	without.User, without.Home = asked.User, asked.Home
	without.Run = func(context.Context, string, ...string) ([]byte, error) {
		t.Error("ssh was started")
		return nil, os.ErrInvalid
	}
	for _, arg := range []string{"a.example", "A.Example", "203.0.113.1", "2001:DB8:0::1", "bob@a.example:24"} {
		want, got := one(t, asked, arg), one(t, without, arg)
		want.KnownHosts, got.KnownHosts = nil, nil // ssh has expanded ~
		assert.Equal(t, want, got, arg)
	}
}

// A container's user, for example. ssh itself ends with that.
func TestUserWithoutAPasswordEntry(t *testing.T) {
	t.Parallel()
	r := sshScript(t, "echo 'No user exists for uid 4242' >&2; exit 255\n")
	r.UID = 4242
	_, err := r.Resolve(t.Context(), "a.example")
	assert.ErrorContains(t, err, "No user exists for uid 4242")
	assert.Contains(t, hint(t, err), "give uid 4242 a line in /etc/passwd")
}

// What ssh says of a host, and what is made of it. Each is a thing that was read
// otherwise than ssh reads it.
func TestResolvedAsSSHResolves(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config, arg string
		check       func(t *testing.T, r *Resolver, h Host)
	}{
		"first value wins": {"Host w*\n Port 1\nHost web\n Port 2\n HostName x.example\n HostName y.example\n", "web",
			func(t *testing.T, _ *Resolver, h Host) { assert.Equal(t, "x.example:1", h.Endpoint()) }},
		"Match exec": {"Match exec true\n Port 24\n", "a.example",
			func(t *testing.T, _ *Resolver, h Host) {
				assert.Equal(t, []any{24, true}, []any{h.Port, h.PortDeclared})
			}},
		"Match final": {"Match final host web.example\n Port 24\nHost web\n HostName web.example\n", "web",
			func(t *testing.T, _ *Resolver, h Host) { assert.Equal(t, "web.example:24", h.Endpoint()) }},
		"tokens": {"IdentityFile ~/.ssh/%h_%p_%r_%n\nIdentityFile ${SET}/100%%\n", "bob@A.example:24",
			func(t *testing.T, r *Resolver, h Host) {
				assert.Equal(t, []string{r.Home + "/.ssh/a.example_24_bob_A.example", r.Dir + "/env-SET/100%"}, h.Identities)
				assert.True(t, h.SkipUnusable)
			}},
		"no identity": {"IdentityFile none\n", "a.example",
			func(t *testing.T, _ *Resolver, h Host) { assert.Equal(t, []string{"none"}, h.Identities) }},
		"no known hosts": {"UserKnownHostsFile none\nGlobalKnownHostsFile none\n", "a.example",
			func(t *testing.T, _ *Resolver, h Host) {
				assert.Equal(t, [][]string{{"none"}, {"none"}}, [][]string{h.KnownHosts, h.GlobalKnownHosts})
			}},
		"known hosts": {"UserKnownHostsFile ~/a /b/%%c\nGlobalKnownHostsFile /x/y\n", "a.example",
			func(t *testing.T, r *Resolver, h Host) {
				assert.Equal(t, [][]string{{r.Home + "/a", "/b/%c"}, {"/x/y"}}, [][]string{h.KnownHosts, h.GlobalKnownHosts})
			}},
		"certificates": {"CertificateFile ~/%n.pub\nCertificateFile \"/b c.pub\"\n", "a.example",
			func(t *testing.T, r *Resolver, h Host) {
				assert.Equal(t, []string{r.Home + "/a.example.pub", "/b c.pub"}, h.Certificates)
			}},
		"agents": {"IdentityAgent \"~/my agent/%h.sock\"\n", "a.example",
			func(t *testing.T, r *Resolver, h Host) { assert.Equal(t, r.Home+"/my agent/a.example.sock", h.Agent) }},
		"jump over IPv4": {"Host a.example\n ProxyJump 203.0.113.7\n", "a.example",
			func(t *testing.T, _ *Resolver, h Host) { assert.Equal(t, "203.0.113.7:22", h.Jumps[0].Addr()) }},
		"jump over IPv4 with all": {"Host a.example\n ProxyJump me@203.0.113.7:24\n", "a.example",
			func(t *testing.T, _ *Resolver, h Host) {
				assert.Equal(t, []string{"203.0.113.7:24", "me"}, []string{h.Jumps[0].Addr(), h.Jumps[0].User})
			}},
		"jump hosts": {"Host web\n HostName web.example\n ProxyJump me@hop:24,[2001:db8::1]:33,203.0.113.9\n" +
			"Host hop\n HostName hop.example\n Port 99\n ProxyJump outer\nHost outer\n HostName outer.example\n", "web",
			func(t *testing.T, _ *Resolver, h Host) {
				var hops []string
				for _, j := range h.Jumps {
					hops = append(hops, j.Addr())
				}
				assert.Equal(t, []string{"outer.example:22", "hop.example:24", "[2001:db8::1]:33", "203.0.113.9:22"}, hops)
			}},
		"jump none": {"Host a.example\n ProxyJump none\nHost *\n ProxyJump gate.example\n", "a.example",
			func(t *testing.T, _ *Resolver, h Host) { assert.Empty(t, h.Jumps) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := resolver(t, "", tc.config)
			t.Logf("%s", tc.config)
			if name == "tokens" {
				r.Run = func(ctx context.Context, program string, args ...string) ([]byte, error) {
					return runSSH(ctx, "/usr/bin/env", append([]string{"SET=env-SET", program}, args...)...)
				}
			}
			tc.check(t, r, one(t, r, tc.arg))
		})
	}
}
