package container

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func minimalInstall() Install {
	return Install{
		Job:     Job{Run: "vps-web-1-7", Image: "nixos/nix:2.31.2"},
		Flake:   "vps-x86",
		User:    "root",
		Address: "203.0.113.10",
		Port:    22,
	}
}

func TestInstallCommandLineWithNothingSet(t *testing.T) {
	t.Parallel()
	archive := []byte("0123456789")
	spec, err := minimalInstall().Spec(archive)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"run", "--rm", "--interactive", "--pull=never", "--name", "vps-web-1-7",
		"--init",
		"--log-driver", "none",
		"--label", "vps.run=vps-web-1-7",
		"--volume", VolumeName("nixos/nix:2.31.2") + ":/nix",
		"--tmpfs", "/work:rw,noexec,nosuid,nodev,mode=0700",
		"--tmpfs", "/key:rw,noexec,nosuid,nodev,mode=0700",
		"--tmpfs", "/extra-files:rw,noexec,nosuid,nodev,mode=0700",
		"--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777",
		"--entrypoint", "/bin/sh",
		"nixos/nix:2.31.2",
		"-c", entryScript, "entry", "/", "10", "10", "run",
		"nix", "--extra-experimental-features", "nix-command flakes", "--option", "flake-registry", "",
		"run", "--no-write-lock-file", "--inputs-from", "path:/work", "nixpkgs#nixos-anywhere", "--",
		"--flake", "path:/work#vps-x86",
		"--target-host", "root@server",
		"--ssh-port", "22",
		"-i", "/key/id_ed25519",
		"--build-on", "local", "--no-use-machine-substituters", "--phases", "kexec",
	}, Engine{}.runArgs(spec))
}

func TestInstallCommandLineWithAllSet(t *testing.T) {
	t.Parallel()
	in := minimalInstall()
	in.Host, in.Network, in.TmpSize = "web-1", "host", "3g"
	in.User, in.Port, in.KexecPort = "debian", 40022, 40023
	in.Project, in.Server, in.Who, in.Mark = "p1", "SHA256:abc", "alice@laptop", "p1/7/alice@laptop"
	in.Kexec = Kexec{URL: "https://example.org/a/kexec-x86.tar.xz", SHA256: strings.Repeat("00", 32)}
	spec, err := in.Spec(make([]byte, 2048))
	require.NoError(t, err)
	assert.Equal(t, []string{
		"run", "--rm", "--interactive", "--pull=never", "--name", "vps-web-1-7",
		"--init",
		"--log-driver", "none",
		"--network", "host",
		"--label", "vps.host=web-1",
		"--label", "vps.project=p1",
		"--label", "vps.run=vps-web-1-7",
		"--label", "vps.server=SHA256:abc",
		"--label", "vps.who=alice@laptop",
		"--volume", VolumeName("nixos/nix:2.31.2") + ":/nix",
		"--tmpfs", "/work:rw,noexec,nosuid,nodev,mode=0700",
		"--tmpfs", "/key:rw,noexec,nosuid,nodev,mode=0700",
		"--tmpfs", "/extra-files:rw,noexec,nosuid,nodev,mode=0700",
		"--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777,size=3g",
		"--entrypoint", "/bin/sh",
		"nixos/nix:2.31.2",
		"-c", entryScript, "entry", "/", "2048", "10",
		"kexec", "https://example.org/a/kexec-x86.tar.xz",
		"sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "kexec.tar.xz",
		"run",
		"nix", "--extra-experimental-features", "nix-command flakes", "--option", "flake-registry", "",
		"run", "--no-write-lock-file", "--inputs-from", "path:/work", "nixpkgs#nixos-anywhere", "--",
		"--flake", "path:/work#vps-x86",
		"--target-host", "debian@server",
		"--ssh-port", "40022",
		"-i", "/key/id_ed25519",
		"--post-kexec-ssh-port", "40023",
		"--build-on", "local", "--no-use-machine-substituters", "--phases", "kexec",
	}, Engine{}.runArgs(spec))
}

// The second stage, whose system was built here or is built on the server.
func TestInstallCommandLineOfTheSystem(t *testing.T) {
	t.Parallel()
	const disko, system = "/nix/store/00000000000000000000000000000000-disko", "/nix/store/11111111111111111111111111111111-nixos-system-web-26.05"
	for name, tc := range map[string]struct {
		change func(*Install)
		want   []string
	}{
		"built here": {func(in *Install) { in.Built = Built{disko, system} }, []string{
			"--store-paths", disko, system,
			"--target-host", "root@server", "--ssh-port", "22", "-i", "/key/id_ed25519",
			"--build-on", "local", "--phases", "disko,install,reboot", "--extra-files", "/extra-files"}},
		"built there": {func(in *Install) { in.DiskKeys = []string{"/tmp/disk.key"} }, []string{
			"--flake", "path:/work#vps-x86",
			"--target-host", "root@server", "--ssh-port", "22", "-i", "/key/id_ed25519",
			"--disk-encryption-keys", "/tmp/disk.key", "/key/disk-0",
			"--build-on", "remote", "--phases", "disko,install,reboot", "--extra-files", "/extra-files"}},
	} {
		in := minimalInstall()
		in.Stage, in.User = StageSystem, "debian"
		tc.change(&in)
		command := in.command()
		assert.Equal(t, tc.want, command[slices.Index(command, "--")+1:], name)
	}
}

// The age key and the new host key are in the container of the second stage only.
func TestInstallKeepsKeysOutOfTheFirstStage(t *testing.T) {
	t.Parallel()
	in, p := minimalInstall(), payload()
	first, err := in.Archive(p)
	require.NoError(t, err)
	in.Stage = StageSystem
	second, err := in.Archive(p)
	require.NoError(t, err)
	assert.NotContains(t, string(first), string(p.AgeKey))
	assert.Contains(t, string(second), string(p.AgeKey))
	assert.NotContains(t, string(first), string(p.HostKey))
}

func TestInstallRefusesOddValues(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 32)
	for name, change := range map[string]func(*Install){
		"flake with a quote":           func(in *Install) { in.Flake = `x"y` },
		"no flake":                     func(in *Install) { in.Flake = "" },
		"flake that is an option":      func(in *Install) { in.Flake = "-x" },
		"user with an option":          func(in *Install) { in.User = "-oProxyCommand=x" },
		"user with an at sign":         func(in *Install) { in.User = "a@b" },
		"no user":                      func(in *Install) { in.User = "" },
		"address with a shell command": func(in *Install) { in.Address = "a;reboot" },
		"address with an expansion":    func(in *Install) { in.Address = "$(id)" },
		"address with a line break":    func(in *Install) { in.Address = "a\nb" },
		"address that is an option":    func(in *Install) { in.Address = "-h" },
		"no address":                   func(in *Install) { in.Address = "" },
		"no port":                      func(in *Install) { in.Port = 0 },
		"port too high":                func(in *Install) { in.Port = 65536 },
		"kexec port below zero":        func(in *Install) { in.KexecPort = -1 },
		"mark with a quote":            func(in *Install) { in.Mark = "a'b" },
		"built elsewhere":              func(in *Install) { in.Built = Built{"/tmp/x", "/tmp/y"} },
		"disk key with a blank":        func(in *Install) { in.DiskKeys = []string{"/tmp/a b"} },
		"kexec without a hash":         func(in *Install) { in.Kexec = Kexec{URL: "https://example.org/k.tar.gz"} },
		"kexec with a short hash":      func(in *Install) { in.Kexec = Kexec{URL: "https://example.org/k", SHA256: hash[2:]} },
		"kexec with a short SRI hash":  func(in *Install) { in.Kexec = Kexec{URL: "https://example.org/k", SHA256: "sha256-AAAA"} },
		"kexec from a file":            func(in *Install) { in.Kexec = Kexec{URL: "file:///etc/passwd", SHA256: hash} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := minimalInstall()
			change(&in)
			_, err := in.Spec(nil)
			require.Error(t, err)
			_, err = in.Archive(payload())
			assert.Error(t, err, "the archive holds a script with the same values")
		})
	}
}

func TestKexecHashIsTakenInBothForms(t *testing.T) {
	t.Parallel()
	sum := slices.Repeat([]byte{0xff}, 32)
	sri := "sha256-//////////////////////////////////////////8="
	assert.Equal(t, sri, Kexec{SHA256: hex.EncodeToString(sum)}.sri())
	assert.Equal(t, sri, Kexec{SHA256: sri}.sri())
}

func TestKexecFileKeepsTheSuffixThatSaysHowToUnpack(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://example.org/x-linux.tar.gz":      "kexec.tar.gz",
		"https://example.org/x-linux.tar.zst":     "kexec.tar.zst",
		"https://example.org/x-linux.tar.xz?a=.b": "kexec.tar.xz",
		"https://example.org/x-linux.tar":         "kexec.tar",
		"https://example.org/download":            "kexec.tar.gz",
	} {
		assert.Equal(t, want, Kexec{URL: address}.fileName(), address)
	}
}

func TestNixCommandLine(t *testing.T) {
	t.Parallel()
	job := Job{Run: "vps-lock-3", Image: "nixos/nix:2.31.2"}
	folders := []string{
		"--tmpfs", "/work:rw,noexec,nosuid,nodev,mode=0700",
		"--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777",
	}
	front := append([]string{
		"run", "--rm", "--interactive", "--pull=never", "--name", "vps-lock-3",
		"--init", "--log-driver", "none",
		"--label", "vps.run=vps-lock-3",
		"--volume", VolumeName("nixos/nix:2.31.2") + ":/nix",
	}, append(folders, "--entrypoint", "/bin/sh", "nixos/nix:2.31.2", "-c", entryScript, "entry", "/", "5", "10")...)
	nix := []string{"nix", "--extra-experimental-features", "nix-command flakes", "--option", "flake-registry", ""}

	evaluate := NixCommand{Job: job, Args: []string{"eval", "--json", "path:/work#x"}}
	assert.Equal(t, slices.Concat(front, []string{"run"}, nix, []string{"eval", "--json", "path:/work#x"}),
		Engine{}.runArgs(evaluate.Spec([]byte("12345"))))

	lock := NixCommand{Job: job, Args: []string{"flake", "update", "--flake", "path:/work"}, Print: "/work/flake.lock"}
	assert.Equal(t, slices.Concat(front, []string{"print", "/work/flake.lock", "run"}, nix,
		[]string{"flake", "update", "--flake", "path:/work"}),
		Engine{}.runArgs(lock.Spec([]byte("12345"))))
}

// Nothing that an engine shows to others may hold a secret: it keeps command
// lines, labels and environments, and so does the process list.
func TestInstallShowsNoSecretToTheEngine(t *testing.T) {
	t.Parallel()
	in := minimalInstall()
	archive, err := in.Archive(payload())
	require.NoError(t, err)
	spec, err := in.Spec(archive)
	require.NoError(t, err)
	words := strings.Join(Engine{}.runArgs(spec), "\n")
	p := payload()
	for _, secret := range [][]byte{p.AgeKey, p.InstallKey, p.HostKey} {
		for line := range strings.Lines(string(secret)) {
			assert.NotContains(t, words, strings.TrimSpace(line))
		}
	}
	assert.Contains(t, words, strconv.Itoa(len(archive)))
}
