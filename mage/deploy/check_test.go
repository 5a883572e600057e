package deploy

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goodNix evaluates the outputs of nix/.
func goodNix(t *testing.T, hosts map[string]facts.Host) string {
	t.Helper()
	return "case \"$*\" in *'nix --extra'*' eval '*)\n" + prints(nixSays(t, hosts)) + "\n;; esac"
}

// newCheck is a project in git with a host "web" that it was deployed to, where
// nothing is wrong.
func newCheck(t *testing.T, options ...vpstest.Option) (*fixture, *vpstest.Server) {
	t.Helper()
	f := newFixture(t)
	f.config = config.Default()
	s := f.server("web", append([]vpstest.Option{vpstest.WithFree("/", 4<<20)}, options...)...)
	require.NoError(t, s.WriteFile("/dev/sda", ""))
	f.config.Hosts = []config.HostEntry{{Name: "web", System: "x86"}}
	hosts := edited(ourHosts(), func(h *facts.Host) { h.SSHPorts = []int{s.Port()} })
	f.fakeEngine(goodNix(t, hosts))
	f.commit()
	return f, s
}

func (f *fixture) commit() {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(filepath.Join(f.Dir, ".gitignore"), []byte("/secrets/age-key*.txt\n/.vps/\n"), 0o644))
	f.git("init", "-q")
	f.git("add", "-A")
	f.git("commit", "-q", "-m", "all")
}

// failed lists the findings that failed, by name.
func failed(list []Finding) map[string]Finding {
	m := map[string]Finding{}
	for _, f := range list {
		if f.Status == secrets.Fail {
			m[f.Name] = f
		}
	}
	return m
}

func find(t *testing.T, list []Finding, name string) Finding {
	t.Helper()
	for _, f := range list {
		if f.Name == name {
			return f
		}
	}
	require.Fail(t, "no such finding", "%s in %v", name, list)
	return Finding{}
}

func TestCheckFindsNothingWrong(t *testing.T) {
	t.Parallel()
	f, s := newCheck(t)
	f.mustUpdate("web")
	require.NoError(t, s.Restart(), "the new kernel wants it")

	found := f.Check(t.Context(), CheckOptions{Host: "web"})

	assert.Empty(t, failed(found))
	names := map[string]bool{}
	for _, x := range found {
		assert.False(t, names[x.Name], "%s is there twice", x.Name)
		names[x.Name] = true
		assert.NotEmpty(t, x.Detail, x.Name)
		assert.NotContains(t, x.Detail, "\n", x.Name)
		assert.NotContains(t, x.Detail, "AGE-SECRET-KEY")
	}
	for _, name := range []string{"go", "vps.yaml", "tree", "nix/", "flake.lock", "secrets: secrets.yaml", "git", "SSH keys",
		"container engine", "container image", "evaluation of vps-x86",
		"web: reachable", "web: host key", "web: clock", "web: architecture", "web: disk", "web: NixOS", "web: memory", "web: free",
		"web: /boot", "web: port", "web: last run", "web: units", "web: reboot", "web: space", "web: output", "web: age key",
		"web: commit", "web: nixpkgs"} {
		assert.Equal(t, secrets.Pass, find(t, found, name).Status, name)
	}
}

func TestCheckFindsLocalFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		spoil   func(f *fixture)
		finding string
		remedy  string
	}{
		{"no lock", func(f *fixture) { f.remove("nix/flake.lock") }, "flake.lock", "mage lock"},
		{"bad lock", func(f *fixture) { f.write("flake.lock", "<<<<<<<") }, "flake.lock", "git checkout"},
		{"no flake", func(f *fixture) { f.remove("nix/flake.nix") }, "tree", "mage init"},
		{"an output that does not exist", func(f *fixture) { f.config.Hosts[0].Flake = "web" }, "output of web", "nixosConfigurations"},
		{"a change", func(f *fixture) { f.write("new.nix", "{ }") }, "git", "git commit"},
		{"damaged secrets", func(f *fixture) { f.replace(secretsPath, "mac: ENC[AES256_GCM,data:", "mac: ENC[AES256_GCM,data:AA") }, "secrets: secrets.yaml", "git log"},
		{"no key to log in with", func(f *fixture) {
			h := f.hosts["web"]
			h.Identities = []string{"/nowhere/id"}
			f.hosts["web"] = h
		}, "SSH keys of web", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, _ := newCheck(t)
			c.spoil(f)

			bad := failed(f.Check(t.Context(), CheckOptions{}))

			require.Contains(t, bad, c.finding)
			assert.Contains(t, bad[c.finding].Next.String(), c.remedy)
			assert.NotEmpty(t, bad[c.finding].Next.String())
		})
	}
}

func (f *fixture) remove(path string) {
	f.t.Helper()
	require.NoError(f.t, os.Remove(filepath.Join(f.Dir, path)))
}

func (f *fixture) replace(path, old, with string) {
	f.t.Helper()
	path = filepath.Join(f.Dir, path)
	data, err := os.ReadFile(path)
	require.NoError(f.t, err)
	require.Contains(f.t, string(data), old)
	require.NoError(f.t, os.WriteFile(path, []byte(strings.Replace(string(data), old, with, 1)), 0o644))
}

func TestCheckWithoutWhatNixNeeds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, engine    string
		finding, remedy string
		skipped         string
	}{
		{"no engine", "", "container engine", "install Docker", "no container engine answers"},
		{"no image", "case $1 in version) echo 1 ;; image) echo 'No such image' >&2; exit 1 ;; esac", "container image", " pull nixos/nix:", "the container image is not here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, _ := newCheck(t)
			f.config.Install.Engine = filepath.Join(t.TempDir(), "docker")
			if c.engine != "" {
				require.NoError(t, program.Write(f.config.Install.Engine, "#!/bin/sh\n"+c.engine+"\n"))
			}

			found := f.Check(t.Context(), CheckOptions{})

			bad := failed(found)
			assert.Len(t, bad, 1)
			assert.Contains(t, bad[c.finding].Next.String(), c.remedy)
			for _, name := range []string{"nix/", evalFinding} {
				assert.Equal(t, Finding{Name: name, Status: secrets.Skipped, Detail: "unknown: " + c.skipped}, find(t, found, name))
			}
		})
	}
}

func TestCheckOfflineStartsNoContainer(t *testing.T) {
	t.Parallel()
	f, _ := newCheck(t)
	calls := f.fakeEngine("exit 1")

	found := f.Check(t.Context(), CheckOptions{Offline: true})

	assert.Empty(t, failed(found))
	assert.Equal(t, "unknown: -offline starts no container", find(t, found, evalFinding).Detail)
	assert.NotContains(t, calls(), "run --rm")
}

func TestCheckTellsWhatNixSays(t *testing.T) {
	t.Parallel()
	f, _ := newCheck(t)
	f.fakeEngine("echo \"error: undefined variable 'pkg'\n       at /nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-source/modules/system.nix:12:30:\" >&2; exit 1")

	bad := failed(f.Check(t.Context(), CheckOptions{}))

	assert.Contains(t, bad[evalFinding].Detail, "undefined variable 'pkg' (nix/modules/system.nix:12:30)")
	assert.Equal(t, "correct nix/modules/system.nix:12:30", bad[evalFinding].Next.String())
}

func TestCheckFindsWhatAHostWouldRefuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		options []vpstest.Option
		spoil   func(f *fixture, s *vpstest.Server)
		finding string
		remedy  string
	}{
		{name: "away", spoil: func(_ *fixture, s *vpstest.Server) { _ = s.Close() }, finding: "reachable"},
		{name: "another host key", spoil: func(f *fixture, _ *vpstest.Server) {
			h := f.hosts["web"]
			h.HostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdpcwvIXLk2dVmwnTWV5fhHkrSRGWEUqqMFV7lZfRZl"
			f.hosts["web"] = h
		}, finding: "host key"},
		{name: "other processor", options: []vpstest.Option{vpstest.WithArch("riscv64")}, finding: "architecture", remedy: "x86 or arm"},
		{name: "other system than declared", spoil: func(f *fixture, _ *vpstest.Server) {
			h := f.hosts["web"]
			h.System = "arm"
			f.hosts["web"] = h
		}, finding: "architecture", remedy: "system: x86"},
		{name: "no disk", spoil: func(_ *fixture, s *vpstest.Server) { _ = os.Remove(s.Path("dev/sda")) }, finding: "disk", remedy: "vps.disk"},
		{name: "mount point", options: []vpstest.Option{
			vpstest.WithTree(map[string]string{"flake.nix": "{ }"}), vpstest.WithMount("/etc/nixos")}, finding: "NixOS", remedy: "plain folder"},
		{name: "full", options: []vpstest.Option{vpstest.WithFree("/nix/store", 1000)}, finding: "space", remedy: "nix-collect-garbage"},
		{name: "full boot", options: []vpstest.Option{vpstest.WithFree("/boot", 1000)}, finding: "/boot", remedy: "nix-collect-garbage"},
		{name: "no key", spoil: func(_ *fixture, s *vpstest.Server) { _ = os.Remove(s.Path("var/lib/sops-nix/key.txt")) }, finding: "age key", remedy: "secrets:rotate"},
		{name: "little memory", spoil: func(_ *fixture, s *vpstest.Server) {
			_ = s.WriteFile("/proc/meminfo", "MemTotal: 400000 kB\n")
		}, finding: "memory", remedy: "1 GB"},
		{name: "no sshd in nix/", spoil: func(f *fixture, _ *vpstest.Server) {
			f.fakeEngine(goodNix(f.t, edited(ourHosts(), func(h *facts.Host) { h.SSHPorts = []int{} })))
		}, finding: "port", remedy: "openssh.enable"},
		{name: "clock", options: []vpstest.Option{vpstest.WithPrograms(map[string]string{"date": "#!/bin/sh\necho 1000000000\n"})}, finding: "clock", remedy: "timesyncd"},
		{name: "interrupted commit", spoil: func(_ *fixture, s *vpstest.Server) {
			_ = s.WriteFile("/var/lib/vps/intent", "id=20260101T000000Z-00000000\n")
		}, finding: "last run", remedy: "mage update web"},
		{name: "certificate", spoil: func(_ *fixture, s *vpstest.Server) {
			_ = s.WriteFile("/var/lib/acme/web/cert.pem", "nothing\n")
		}, finding: "certificate", remedy: "look at it"},
		{name: "reboot", spoil: func(_ *fixture, s *vpstest.Server) {
			_ = os.Remove(s.Path("run/booted-system"))
			_ = os.MkdirAll(s.Path("run/booted-system"), 0o755)
			_ = os.WriteFile(filepath.Join(s.CurrentSystem(), "kernel"), nil, 0o644)
		}, finding: "reboot", remedy: "systemctl reboot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, s := newCheck(t, c.options...)
			if c.spoil != nil {
				c.spoil(f, s)
			}

			bad := failed(f.Check(t.Context(), CheckOptions{Host: "web"}))

			require.Contains(t, bad, "web: "+c.finding)
			assert.Contains(t, bad["web: "+c.finding].Next.String(), c.remedy)
			assert.NotEmpty(t, bad["web: "+c.finding].Next.String())
			assert.NotContains(t, bad["web: "+c.finding].Detail, "web: ", "the host is named once")
		})
	}
}

func TestCheckOfAServerThatIsNotOurs(t *testing.T) {
	t.Parallel()
	f, _ := newCheck(t, vpstest.WithoutNixOS())

	found := f.Check(t.Context(), CheckOptions{Host: "web"})

	assert.Equal(t, secrets.Skipped, find(t, found, "web: NixOS").Status)
	assert.Contains(t, find(t, found, "web: NixOS").Detail, "mage bootstrap web")
	assert.Contains(t, find(t, found, "web: disk").Detail, "/dev/sda")
	find(t, found, "web: bootstrap")
}

// Bootstrap brought a key to where such a system does not look for it, after the disk
// was wiped; check was silent.
func TestCheckOfAnOutputWithoutAnAgeKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		age           *facts.Age
		local, server secrets.Status // "" is no finding
	}{
		"a key file":         {&facts.Age{KeyFile: "/persist/key.txt", SSHKeyPaths: []string{}}, "", ""},
		"neither":            {&facts.Age{SSHKeyPaths: []string{}}, secrets.Fail, secrets.Fail},
		"the SSH host key":   {&facts.Age{SSHKeyPaths: []string{"/etc/ssh/ssh_host_ed25519_key"}}, secrets.Skipped, secrets.Fail},
		"unknown":            {nil, "", ""},
		"half of it unknown": {&facts.Age{}, secrets.Skipped, secrets.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := newCheck(t, vpstest.WithoutNixOS())
			f.fakeEngine(goodNix(t, edited(ourHosts(), func(h *facts.Host) { h.Age = tc.age })))

			found := f.Check(t.Context(), CheckOptions{Host: "web"})

			status := map[string]secrets.Status{}
			for _, x := range found {
				status[x.Name] = x.Status
			}
			assert.Equal(t, tc.local, status["age key of vps-x86"])
			assert.Equal(t, tc.server, status["web: age key"])
			if tc.local == secrets.Fail {
				x := failed(found)["age key of vps-x86"]
				assert.Contains(t, x.Detail, "neither sops.age.keyFile nor sops.age.sshKeyPaths")
				assert.Contains(t, x.Next.String(), `set sops.age.keyFile = "/var/lib/sops-nix/key.txt"`)
			}
		})
	}
}

func TestCheckEvaluatesEveryOutputUnlessHostsNameTheirs(t *testing.T) {
	t.Parallel()
	f, _ := newCheck(t)
	f.config.Hosts = nil

	found := f.Check(t.Context(), CheckOptions{})

	for _, name := range []string{"evaluation of vps-arm", "evaluation of vps-x86"} {
		assert.Equal(t, secrets.Pass, find(t, found, name).Status, name)
	}
}

// What takes long is waited for at the same time: here the engine answers only
// after the server was asked.
func TestCheckLooksAtThingsSideBySide(t *testing.T) {
	t.Parallel()
	asked := filepath.Join(t.TempDir(), "asked")
	f, _ := newCheck(t, vpstest.WithHook(func(*vpstest.Server, vpstest.Call) { _ = os.WriteFile(asked, nil, 0o600) }))
	require.NoError(t, program.Write(f.config.Install.Engine, "#!/bin/sh\nfor i in $(seq 200); do [ ! -e '"+asked+"' ] || exit 0; sleep 0.1; done; exit 1\n"))

	found := f.Check(t.Context(), CheckOptions{Host: "web", Offline: true})

	assert.Equal(t, secrets.Pass, find(t, found, "container engine").Status)
}

func TestCheckOfABrokenConfiguration(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, os.WriteFile(filepath.Join(f.Dir, config.FileName), []byte("hosts:\n  web:\n    prot: 1\n"), 0o644))
	ui := term.New(strings.NewReader(""), &buffer{}, f.story)

	found := Check(t.Context(), f.Dir, listener{ui.Observer()}, CheckOptions{Host: "web", Offline: true})

	assert.Contains(t, failed(found)[config.FileName].Detail, "prot")
	assert.Equal(t, secrets.Skipped, find(t, found, "web").Status)
	assert.Equal(t, secrets.Pass, find(t, found, "flake.lock").Status, "the rest is looked at all the same")
}

func TestCheckEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f, _ := newCheck(t)
	f.fakeEngine("exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	f.Check(ctx, CheckOptions{})
	assert.Less(t, time.Since(began), 20*time.Second)
}

func TestToolVersions(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]secrets.Status{"go1.25.9": secrets.Fail, "go1.26": secrets.Pass, "go1.27.1": secrets.Pass, "devel +abc": secrets.Pass} {
		var l findings
		l.goVersion(v)
		assert.Equal(t, want, l[0].Status, v)
	}
	for v, want := range map[string]secrets.Status{"v1.16.0": secrets.Fail, "v1.17.2": secrets.Pass, "(devel)": secrets.Pass} {
		var l findings
		l.mageVersion(&debug.BuildInfo{Deps: []*debug.Module{{Path: "github.com/magefile/mage", Version: v}}})
		assert.Equal(t, want, l[0].Status, v)
	}
}

func TestCertificatesThatEndSoon(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &hostCheck{}
	c.certificates([]run.Certificate{{File: "a", Ends: now.Add(24 * time.Hour)}, {File: "b", Ends: now.Add(60 * 24 * time.Hour)}}, now)
	require.Len(t, c.findings, 2)
	assert.Equal(t, secrets.Fail, c.findings[0].Status)
	assert.Contains(t, c.findings[0].Detail, "2026-01-02")
	assert.Contains(t, c.findings[1].Detail, "2026-03-02")
}

// The second check of a tree starts no container.
func TestCheckOfAnUnchangedTreeAnswersFromWhatIsKept(t *testing.T) {
	t.Parallel()
	f, _ := newCheck(t)
	require.Equal(t, secrets.Pass, find(t, f.Check(t.Context(), CheckOptions{}), "evaluation of vps-x86").Status)
	calls := f.fakeEngine("exit 1")

	found := f.Check(t.Context(), CheckOptions{})

	assert.Equal(t, secrets.Pass, find(t, found, "evaluation of vps-x86").Status)
	assert.NotContains(t, calls(), "run --rm")
	f.write("changed.nix", "{ }")
	assert.Contains(t, failed(f.Check(t.Context(), CheckOptions{})), evalFinding, "another tree is evaluated again")
}

// Names were looked for in secrets.yaml only, and a file that the tree lacks was found
// out by the build on the server.
func TestCheckOfDeclaredSecretsInAnyFile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil   func(*fixture)
		file    string // of the tree, where nix/ declares two more secrets
		source  string // that file of the project
		finding string // that fails; "" is none
		detail  string
		remedy  string
	}{
		"the default file elsewhere": {
			spoil: func(f *fixture) { f.allSops(); f.copySecrets("nix/hosts/web/secrets.yaml") },
			file:  "hosts/web/secrets.yaml", source: "nix/hosts/web/secrets.yaml",
		},
		"a second file beside secrets.yaml": {
			spoil: func(f *fixture) { f.allSops(); f.copySecrets("secrets/vault.yaml") },
			file:  "secrets/vault.yaml", source: "secrets/vault.yaml",
		},
		"a file that is not there": {
			spoil: (*fixture).allSops, file: "secrets/vault.yaml", finding: "secrets: secrets/vault.yaml", detail: "vault.yaml", remedy: "sops edit secrets/vault.yaml",
		},
		"a file that no rule matches": {
			spoil: func(f *fixture) { f.copySecrets("secrets/vault.yaml") }, file: "secrets/vault.yaml",
			finding: "sops file secrets/vault.yaml", detail: "web-key, web-token from secrets/vault.yaml, which is not deployed", remedy: "a rule of .sops.yaml",
		},
		"a file that is not encrypted": {
			spoil: func(f *fixture) { f.write("hosts/web/secrets.yaml", "a: 1\n") }, file: "hosts/web/secrets.yaml",
			finding: "secrets: nix/hosts/web/secrets.yaml", detail: "nix/hosts/web/secrets.yaml",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := newCheck(t)
			tc.spoil(f)
			f.fakeEngine(goodNix(t, edited(ourHosts(), func(h *facts.Host) {
				h.Secrets = append(h.Secrets, secrets.Declared{Name: "web-token", Key: "gateway-token", File: tc.file, Format: "yaml"},
					secrets.Declared{Name: "web-key", Key: "ssh-public-key", File: tc.file, Format: "yaml"})
			})))

			found := f.Check(t.Context(), CheckOptions{})

			bad := failed(found)
			delete(bad, "git")
			assert.NotContains(t, bad, "secrets: declared names", "nothing else is wanted in secrets.yaml")
			if tc.finding == "" {
				assert.Empty(t, bad)
				assert.Equal(t, secrets.Pass, find(t, found, "secrets: declared names in "+tc.source).Status)
				return
			}
			require.Contains(t, bad, tc.finding)
			assert.Contains(t, bad[tc.finding].Detail, tc.detail)
			assert.Contains(t, bad[tc.finding].Next.String(), tc.remedy)
		})
	}
}

// All secrets may lie in another file: neither check nor update wants secrets.yaml.
func TestProjectWhoseOnlySopsFileIsInTheFlakesFolder(t *testing.T) {
	t.Parallel()
	f, s := newCheck(t)
	f.allSops()
	f.copySecrets("nix/hosts/web/secrets.yaml")
	f.remove(secretsPath)
	f.commitAll("another default file")
	f.fakeEngine(goodNix(t, edited(ourHosts(), func(h *facts.Host) {
		h.SSHPorts = []int{s.Port()}
		for i := range h.Secrets {
			h.Secrets[i].File = "hosts/web/secrets.yaml"
			h.Secrets[i].Path = "" // the simulated server decrypts secrets.yaml alone
		}
	})))

	found := f.Check(t.Context(), CheckOptions{Host: "web"})

	assert.Empty(t, failed(found))
	assert.Equal(t, secrets.Pass, find(t, found, "secrets: declared names in nix/hosts/web/secrets.yaml").Status)
	assert.Equal(t, "the server's key decrypts hosts/web/secrets.yaml", find(t, found, "web: age key").Detail)
	f.mustUpdate("web")
	assert.Contains(t, s.ReadFile("etc/nixos/hosts/web/secrets.yaml"), "ENC[")
}

// A text that shows what sops writes was taken for a damaged sops file, and no update
// went through. One that a rule matches is still refused if it is damaged.
func TestTextThatMentionsSopsIsNoSopsFile(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("README.md", "A value looks like `ENC[AES256_GCM,data:abc]`.\n")
	f.write("app.conf", "# token=ENC[AES256_GCM,data:abc]\n")

	dotenv := []secrets.Declared{{Name: "a", Key: "a", File: "app.conf", Format: "dotenv"}}
	pre, err := f.prepare(t.Context())
	require.NoError(t, err)
	assert.NoError(t, f.refuseMissing(t.Context(), "web", pre.tree, dotenv), "what is in it is not known")

	f.allSops()
	f.copySecrets("nix/hosts/web/secrets.yaml")
	f.replace("nix/hosts/web/secrets.yaml", "mac: ENC[AES256_GCM,data:", "mac: ENC[AES256_GCM,data:AA")
	_, err = f.prepare(t.Context())
	assert.ErrorContains(t, err, "nix/hosts/web/secrets.yaml")
	f.write("hosts/web/secrets.yaml", "a: ENC[AES256_GCM,data:abc]\n")
	_, err = f.prepare(t.Context())
	assert.ErrorContains(t, err, "nix/hosts/web/secrets.yaml", "sops' part is missing")
}

// A module that is imported in an unusual way declares a secret, and the key file: the
// reader of .nix files saw neither, check wanted the secret removed, and update looked
// for the key in the wrong place.
func TestWhatAnUnusualImportDeclaresIsKnown(t *testing.T) {
	t.Parallel()
	f, s := newCheck(t)
	f.git("mv", "nix/modules/sops.nix", "nix/modules/declared.nix")
	f.replace("nix/flake.nix", "./modules/sops.nix", "./modules/host.nix")
	f.write("modules/host.nix", "{ lib, ... }: { imports = [ ] ++ [ ./declared.nix ]; }\n")
	f.commitAll("another layout")
	key := s.ReadFile("var/lib/sops-nix/key.txt")
	require.NoError(t, os.Remove(s.Path("var/lib/sops-nix/key.txt")))
	require.NoError(t, s.WriteFile("/persist/sops-nix/key.txt", key))

	unknown := f.Check(t.Context(), CheckOptions{Offline: true})
	assert.Empty(t, failed(unknown))
	assert.Equal(t, secrets.Skipped, find(t, unknown, "secrets: declared names").Status)

	f.fakeEngine(goodNix(t, edited(ourHosts(), func(h *facts.Host) {
		h.Age, h.SSHPorts = &facts.Age{KeyFile: "/persist/sops-nix/key.txt", SSHKeyPaths: []string{}}, []int{s.Port()}
	})))
	known := f.Check(t.Context(), CheckOptions{Host: "web"})
	assert.Empty(t, failed(known))
	assert.Equal(t, secrets.Pass, find(t, known, "secrets: declared names").Status)
	f.mustUpdate("web")
}

// Where each host of vps.yaml names its output, the others are not evaluated: what is
// declared is then known in part, and that part is checked.
func TestCheckOfDeclaredNamesOfSomeOutputs(t *testing.T) {
	t.Parallel()
	f, _ := newCheck(t)
	hosts := edited(ourHosts(), declares("nobody-set-it", secretsPath))
	delete(hosts, "vps-arm")
	f.fakeEngine("case \"$*\" in *'nix --extra'*' eval '*)\n" + prints(strings.Replace(nixSays(t, hosts), `"outputs":[`, `"outputs":["vps-arm",`, 1)) + "\n;; esac")

	bad := failed(f.Check(t.Context(), CheckOptions{}))

	assert.Contains(t, bad["secrets: declared names"].Detail, "nobody-set-it is missing")
}

// A host's own key file, port or secrets are no other host's.
func TestUpdateOfOneHostKnowsNothingOfAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")
	hosts := ourHosts()
	other := hosts["vps-arm"]
	other.Age = &facts.Age{KeyFile: "/persist/other.txt", SSHKeyPaths: []string{}}
	other.Secrets = append(other.Secrets, secrets.Declared{Name: "nobody-set-it", Key: "nobody-set-it", File: secretsPath})
	other.SSHPorts = []int{9999}
	hosts["vps-arm"] = other
	f.know(hosts)

	f.mustUpdate("web")
}

// A tag can be moved to another image, which would get the tree and the age key.
func TestCheckSaysWhetherTheImageIsFixed(t *testing.T) {
	t.Parallel()
	f, _ := newCheck(t)
	assert.Contains(t, find(t, f.Check(t.Context(), CheckOptions{}), imageFinding).Detail, "by tag, not by digest")
	f.config.Install.Image = "nixos/nix@sha256:" + strings.Repeat("0", 64)
	assert.Contains(t, find(t, f.Check(t.Context(), CheckOptions{}), imageFinding).Detail, "; by its digest")
}
