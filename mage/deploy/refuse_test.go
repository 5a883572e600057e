package deploy

import (
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// Each bad input ends in an error that says what is wrong and what to do, and
// leaves the server as it was.
func TestBadInputIsRefusedBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	exampleKey, err := os.ReadFile(filepath.Join(repository, "testdata/age-key.txt"))
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		server []vpstest.Option
		spoil  func(*fixture, *vpstest.Server)
		code   Code
		says   string
	}{
		{name: "no NixOS", server: []vpstest.Option{vpstest.WithoutNixOS()}, code: CodeFailed, says: "does not run NixOS"},
		{name: "architecture", spoil: change("web", func(h *config.Host) { h.System = "arm" }), code: CodeFailed, says: `"arm"`},
		{name: "no space for the store", server: []vpstest.Option{vpstest.WithFree("/nix", 1000)}, code: CodeFailed, says: "too little space for /nix/store"},
		{name: "no space for /etc", server: []vpstest.Option{vpstest.WithFree("/etc", 10)}, code: CodeFailed, says: "too little space for /etc"},
		{name: "/etc/nixos is a mount point", server: []vpstest.Option{vpstest.WithTree(map[string]string{"flake.nix": "{}"}), vpstest.WithMount("/etc/nixos")}, code: CodeFailed, says: "mount point"},
		{name: "/etc/nixos is a symlink", spoil: func(f *fixture, s *vpstest.Server) {
			require.NoError(f.t, os.RemoveAll(s.Path("etc/nixos")))
			require.NoError(f.t, os.Symlink(f.t.TempDir(), s.Path("etc/nixos")))
		}, code: CodeFailed, says: "symlink"},
		{name: "no age key there", server: []vpstest.Option{vpstest.WithAgeKey("")}, code: CodeFailed, says: "no age key"},
		{name: "another age key there", server: []vpstest.Option{vpstest.WithAgeKey(otherKey(string(exampleKey)))}, code: CodeFailed, says: "no age key of the server"},
		{name: "sudo asks", server: []vpstest.Option{vpstest.WithUser("bob"), vpstest.WithSudoPassword()},
			spoil: change("web", func(h *config.Host) { h.User = "bob" }), code: CodeFailed, says: "look at the server"},
		{name: "flake output", spoil: change("web", func(h *config.Host) { h.Flake = "web-9" }), code: CodeUsage, says: `"web-9"`},
		{name: "host key", spoil: change("web", func(h *config.Host) {
			h.HostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
		}), code: CodeFailed, says: "SHA256:"},
		{name: "missing identity", spoil: change("web", func(h *config.Host) { h.Identities = []string{"/nonexistent/key"} }), code: CodeFailed, says: "/nonexistent/key"},
		{name: "wrong passphrase", spoil: lockedKey, code: CodeFailed, says: "wrong passphrase"},
		{name: "no flake.nix", spoil: func(f *fixture, _ *vpstest.Server) {
			require.NoError(f.t, os.Remove(filepath.Join(f.Dir, "nix/flake.nix")))
		}, code: CodeUsage, says: "flake.nix"},
		{name: "plaintext secrets", spoil: func(f *fixture, _ *vpstest.Server) {
			require.NoError(f.t, os.WriteFile(filepath.Join(f.Dir, secretsPath), []byte("token: abc\n"), 0o600))
		}, code: CodeUsage, says: "secrets.yaml"},
		{name: "tampered secrets", spoil: tamper, code: CodeUsage, says: "secrets.yaml"},
		{name: "age key in the tree", spoil: func(f *fixture, _ *vpstest.Server) {
			f.write("oops.nix", "# AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ\n")
		}, code: CodeUsage, says: "oops.nix"},
		{name: "declared secret is missing", spoil: func(f *fixture, _ *vpstest.Server) {
			f.know(edited(ourHosts(), func(h *facts.Host) {
				h.Secrets = append(h.Secrets, secrets.Declared{Name: "nobody-set-it", Key: "nobody-set-it", File: secretsPath})
			}))
		}, code: CodeUsage, says: "nobody-set-it"},
		{name: "declared sops file is missing", spoil: func(f *fixture, _ *vpstest.Server) {
			f.know(edited(ourHosts(), declares("vault", "secrets/vault.yaml")))
		}, code: CodeUsage, says: "nix/ takes vault from secrets/vault.yaml, and there is no such file"},
		{name: "declared sops file is not deployed", spoil: func(f *fixture, _ *vpstest.Server) {
			f.copySecrets("secrets/vault.yaml")
			f.know(edited(ourHosts(), declares("vault", "secrets/vault.yaml")))
		}, code: CodeUsage, says: "secrets/vault.yaml, which is not deployed"},
		{name: "declared sops file is plain", spoil: func(f *fixture, _ *vpstest.Server) {
			f.write("hosts/web/secrets.yaml", "a: 1\n")
			f.know(edited(ourHosts(), declares("web-token", "hosts/web/secrets.yaml")))
		}, code: CodeUsage, says: "web-token from nix/hosts/web/secrets.yaml, which is not encrypted"},
		{name: "another sops file lacks a declared secret", spoil: func(f *fixture, _ *vpstest.Server) {
			f.copySecrets("nix/hosts/web/secrets.yaml")
			f.know(edited(ourHosts(), declares("web-token", "hosts/web/secrets.yaml")))
		}, code: CodeUsage, says: "nix/hosts/web/secrets.yaml lacks what nix/ declares: web-token"},
		{name: "the server's key opens secrets.yaml and no other file", spoil: func(f *fixture, _ *vpstest.Server) {
			f.secretsOfAnotherKey("nix/hosts/web/secrets.yaml")
			f.know(edited(ourHosts(), declares("gateway-token", "hosts/web/secrets.yaml")))
		}, code: CodeFailed, says: "decrypt nix/hosts/web/secrets.yaml"},
		{name: "example key", spoil: func(f *fixture, _ *vpstest.Server) { f.allowExample = false }, code: CodeUsage, says: "example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := f.server("web", c.server...)
			f.know(ourHosts())
			if c.spoil != nil {
				c.spoil(f, s)
			}
			before := s.Manifest()

			_, err := f.update("web", quick())

			require.Error(t, err)
			assert.Equal(t, c.code, codeOf(err), "%v", err)
			assert.ErrorContains(t, err, c.says)
			var fail *Failure
			require.ErrorAs(t, err, &fail)
			assert.NotEmpty(t, fail.Now, "the state now")
			assert.NotEmpty(t, fail.NextStep().String(), "what to do next: %v", err)
			assert.Equal(t, before, s.Manifest(), "/etc/nixos")
			assert.Empty(t, s.Runs(), "a run was started")
		})
	}
}

func change(name string, edit func(*config.Host)) func(*fixture, *vpstest.Server) {
	return func(f *fixture, _ *vpstest.Server) {
		h := f.hosts[name]
		edit(&h)
		f.hosts[name] = h
	}
}

// lockedKey makes the login need a passphrase that the person does not know.
func lockedKey(f *fixture, s *vpstest.Server) {
	data, err := os.ReadFile(s.ClientKeyFile())
	require.NoError(f.t, err)
	key, err := ssh.ParseRawPrivateKey(data)
	require.NoError(f.t, err)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("sesame"))
	require.NoError(f.t, err)
	path := filepath.Join(f.Dir, "locked")
	require.NoError(f.t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	f.Dialer.Prompter = forgetful{}
	change("web", func(h *config.Host) { h.Identities = []string{path} })(f, s)
}

type forgetful struct{ remote.Prompter }

func (forgetful) Passphrase(context.Context, string) ([]byte, error) { return []byte("open"), nil }

// otherKey is a key file whose identity nobody knows.
func otherKey(text string) string {
	return strings.ReplaceAll(text, "AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1Q")
}

// tamper exchanges two characters within an encrypted value: the form stays.
func tamper(f *fixture, _ *vpstest.Server) {
	path := filepath.Join(f.Dir, secretsPath)
	data, err := os.ReadFile(path)
	require.NoError(f.t, err)
	i := strings.Index(string(data), "data:") + len("data:")
	if data[i] == 'A' {
		data[i] = 'B'
	} else {
		data[i] = 'A'
	}
	require.NoError(f.t, os.WriteFile(path, data, 0o600))
}

func TestBadFlagsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(*UpdateOptions)
	}{
		{"-parallel=0", func(o *UpdateOptions) { o.Parallel = 0 }},
		{"-confirm=-1s", func(o *UpdateOptions) { o.Confirm = -1 }},
		{"-switchtimeout=0", func(o *UpdateOptions) { o.SwitchTimeout = 0 }},
		{"-action=swich", func(o *UpdateOptions) { o.Action = "swich" }},
		{"-settle over -confirm", func(o *UpdateOptions) { o.Settle = o.Confirm }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			o := quick()
			c.spoil(&o)
			_, err := f.update("web", o)
			assert.Equal(t, CodeUsage, codeOf(err), "%v", err)
		})
	}
}

func TestNoWatchdogIsWarnedOf(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	o := quick()
	o.Confirm = 0

	r, err := f.update("web", o)

	require.NoError(t, err)
	assert.Equal(t, OutcomeUpdated, r.Outcome)
	assert.Equal(t, s.CurrentSystem(), s.BootDefault())
	assert.Contains(t, f.story.String(), "no watchdog")
}

// A laptop must not undo what another one deployed and it has not seen.
func TestUnseenCommitNeedsForce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	f.git("init", "-q")
	f.git("add", ".")
	f.git("commit", "-qm", "one")
	f.mustUpdate("web")
	f.write("y.nix", "not what was deployed")
	f.git("add", ".")
	f.git("commit", "-q", "--amend", "-m", "another history")
	f.git("-c", "gc.reflogExpire=now", "commit", "-q", "--allow-empty", "-m", "two")
	f.write("x.nix", "1")

	_, err := f.update("web", quick())
	assert.Equal(t, CodeFailed, codeOf(err), "%v", err)
	assert.ErrorContains(t, err, "does not contain")

	o := quick()
	o.Force = true
	_, err = f.update("web", o)
	assert.NoError(t, err)
}

// The server upgrades itself every night; an older lock would undo that.
func TestOlderNixpkgsNeedsForce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	f.behave(vpstest.System{Version: "26.05.20991231.abcdef0"})
	f.mustUpdate("web")
	f.write("x.nix", "1")

	_, err := f.update("web", quick())
	assert.ErrorContains(t, err, "security patches")
	var fail *Failure
	require.ErrorAs(t, err, &fail)
	assert.Contains(t, fail.NextStep().String(), "mage lock")

	o := quick()
	o.Force = true
	_, err = f.update("web", o)
	assert.NoError(t, err)
}

// commitAll makes a repository of the project, or one commit more.
func (f *fixture) commitAll(message string) {
	f.git("init", "-q")
	f.git("add", "-A")
	f.git("commit", "-qm", message)
}

// What may be replaced is asked by content, too: a squash merge has another name than
// the commits that were deployed.
func TestSquashedCommitMayBeReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	f.commitAll("one")
	f.git("checkout", "-qb", "branch")
	f.write("x.nix", "1\n")
	f.commitAll("on a branch")
	f.mustUpdate("web")
	f.git("checkout", "-q", "-")
	f.git("merge", "-q", "--squash", "branch")
	f.git("commit", "-qm", "squashed")
	f.git("branch", "-qD", "branch")
	f.write("y.nix", "1\n")
	f.commitAll("the next one")

	f.mustUpdate("web")
}

// A colleague's changes that are in no commit are not removed without a word; one's
// own are, and so is what was committed by now.
func TestUncommittedDeploymentOfAColleague(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	f.commitAll("one")
	f.write("x.nix", "theirs\n")
	f.Who = "bob"
	f.mustUpdate("web")
	f.Who = "alice"
	f.write("x.nix", "ours\n")

	_, err := f.update("web", quick())
	assert.ErrorContains(t, err, "in no commit (by bob from laptop")

	f.write("x.nix", "theirs\n")
	f.commitAll("what bob had")
	f.write("x.nix", "ours\n")
	f.mustUpdate("web")
	f.write("x.nix", "ours again\n")
	f.mustUpdate("web")
}

// A CI job's clone has one commit only, and git pull brings no more of them.
func TestShallowCloneIsToldHowToGoOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	f.commitAll("one")
	f.mustUpdate("web")
	f.write("x.nix", "1\n")
	f.commitAll("two")
	origin := f.Dir
	f.Dir = filepath.Join(t.TempDir(), "clone")
	clone := exec.Command("git", "clone", "-q", "--depth=1", "file://"+origin, f.Dir)
	out, err := clone.CombinedOutput()
	require.NoError(t, err, "%s", out)

	_, err = f.update("web", quick())

	var fail *Failure
	require.ErrorAs(t, err, &fail)
	assert.ErrorContains(t, err, "shallow clone")
	assert.Contains(t, fail.NextStep().String(), "git fetch --unshallow")
	assert.Contains(t, fail.NextStep().String(), "fetch-depth: 0")
}

// A system that lacks what a run needs is told by name, before anything is sent; going
// back needs no nixos-rebuild.
func TestMissingProgramsAreNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	f.mustUpdate("web")
	f.write("x.nix", "1\n")
	f.mustUpdate("web")
	require.NoError(t, os.Remove(s.Path("run/current-system/sw/bin/nixos-rebuild")))
	f.write("x.nix", "2\n")
	runs := runCount(t, s)

	_, err := f.update("web", quick())
	assert.ErrorContains(t, err, "lacks nixos-rebuild")
	assert.Equal(t, runs, runCount(t, s))

	_, err = f.Rollback(t.Context(), "web", back(0))
	assert.NoError(t, err)
}
