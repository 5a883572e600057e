package vpstest_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
)

// ended runs an update to its end without any confirmation.
func ended(t *testing.T, s *vpstest.Server, a vpstest.Archive) run.Status {
	t.Helper()
	f := follow(t, dial(t, s), start(t, dial(t, s), a))
	defer f.close()
	return f.until("end")
}

// What would go wrong later is refused while nothing has changed, by its reason.
func TestRunsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		options        []vpstest.Option
		before         func(t *testing.T, s *vpstest.Server)
		system         vpstest.System
		result, reason string
		says           string
	}{
		{name: "a mount below /etc/nixos", options: []vpstest.Option{vpstest.WithMount("/etc/nixos/inner")},
			result: "failed", reason: "mount", says: "something is mounted at /etc/nixos/inner: /etc/nixos is exchanged as a whole"},
		{name: "a mount that is not below it", options: []vpstest.Option{vpstest.WithMount("/etc/nixos-2")}, result: "committed"},
		{name: "a scheduled restart", before: func(t *testing.T, s *vpstest.Server) {
			require.NoError(t, s.WriteFile("run/systemd/shutdown/scheduled", "USEC=1795862783000000\nWARN_WALL=1\nMODE=reboot\n"))
		}, result: "busy", reason: "shutdown", says: "a reboot of the server is scheduled"},
		{name: "the nightly upgrade", before: func(_ *testing.T, s *vpstest.Server) {
			s.SetUnit("", "nixos-upgrade.service", "activating")
		}, result: "busy", reason: "upgrade", says: "nixos-upgrade.service is running"},
		{name: "somebody's nixos-rebuild", before: func(_ *testing.T, s *vpstest.Server) {
			s.SetUnit("", "nixos-rebuild-switch-to-configuration.service", "active")
		}, result: "busy", reason: "upgrade", says: "nixos-rebuild-switch-to-configuration.service is running"},
		{name: "no switch", system: vpstest.System{NoSwitch: true}, result: "failed", reason: "unswitchable", says: "system.switch.enable"},
		{name: "a program is missing", options: []vpstest.Option{vpstest.WithPrograms(map[string]string{"cmp": ""})},
			result: "failed", reason: "lacking", says: "lacks what a run needs: lacks=cmp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := vpstest.Start(t, append([]vpstest.Option{vpstest.WithTree(old())}, c.options...)...)
			if c.before != nil {
				c.before(t, s)
			}
			was := remember(s)
			a := s.NewArchive("run-1", tree(c.system, "new.nix", "new\n"))
			a.Request["confirm"] = "0"
			end := ended(t, s, a)
			assert.Equal(t, []string{c.result, c.reason}, []string{end.Fields["result"], end.Fields["reason"]}, "%s\n%s", end.Message, s.RunFile("run-1", "log"))
			assert.Contains(t, end.Message, c.says)
			if c.result != "committed" {
				assertOld(t, s, was)
				assert.Empty(t, s.RunFile("run-1", "armed"))
			}
		})
	}
}

// A generation whose kernel lies on /boot already needs no room for it. Refusing it kept
// people from rolling back on a small /boot.
func TestBootNeedsRoomForNewKernelsOnly(t *testing.T) {
	t.Parallel()
	const kernel = 5 << 20
	for _, c := range []struct {
		name   string
		at     string // where the kernel lies on /boot
		refuse bool
	}{
		{"nowhere", "", true},
		{"GRUB", "boot/kernels/%s-kernel", false},
		{"systemd-boot", "boot/EFI/nixos/%s-kernel.efi", false},
		{"extlinux", "boot/nixos/%s-kernel", false},
		{"another's", "boot/kernels/0%s-kernel", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithFree("/boot", 3<<10))
			wanted := tree(vpstest.System{Kernel: kernel}, "new.nix", "new\n")
			build := s.NewArchive("run-1", wanted)
			build.Request["action"] = "build"
			system := ended(t, s, build).Fields["system"]
			require.NotEmpty(t, system)
			if c.at != "" {
				require.NoError(t, s.WriteFile(strings.Replace(c.at, "%s", filepath.Base(system), 1), "kernel"))
			}
			a := s.NewArchive("run-2", wanted)
			a.Request["action"] = "boot"
			end := ended(t, s, a)
			if c.refuse {
				assert.Equal(t, "boot", end.Fields["reason"])
				assert.Contains(t, end.Message, "/boot has 3072 kB free and the new system needs 6144 kB")
				return
			}
			assert.Equal(t, "committed", end.Fields["result"], end.Message)
		})
	}
}

// full makes a server whose disk a test can fill.
func full(t *testing.T, options ...vpstest.Option) *vpstest.Server {
	t.Helper()
	s, err := vpstest.New(append([]vpstest.Option{vpstest.WithTree(old()), vpstest.WithDiskSize(16 << 20)}, options...)...)
	if err != nil {
		t.Skipf("only root can mount a disk: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// A full disk was told as "the staged tree is not the one that was sent", and a run
// switched although it could not write what undoes it.
func TestFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("root can write every file, and mount a disk")
	}
	for _, c := range []struct{ name, program, action string }{
		{"staging", "cp", ""}, {"building", "nixos-rebuild", "build"}, {"before the switch", "switch-to-configuration", "check"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			s := full(t, vpstest.WithTrace("cp"), vpstest.WithHook(func(s *vpstest.Server, call vpstest.Call) {
				if call.Program == c.program && (c.action == "" || call.Args[0] == c.action) {
					once.Do(func() { assert.NoError(t, s.FillDisk()) })
				}
			}))
			was := remember(s)
			s.SetUnit("", "in-trouble-before.service", "failed") // which is written down before the switch
			end := ended(t, s, s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", strings.Repeat("new\n", 4000))))
			assert.Equal(t, []string{"failed", "full"}, []string{end.Fields["result"], end.Fields["reason"]}, "%s\n%s", end.Message, s.RunFile("run-1", "log"))
			assert.Regexp(t, `the disk of /\S+ is full: \d+ kB are free`, end.Message)
			assert.NoError(t, s.FreeDisk())
			assertOld(t, s, was)
			for _, call := range s.Calls() {
				assert.False(t, call.Program == "switch-to-configuration" && call.Args[0] == "activate", "it never switches")
			}
			updateTo(t, s, "run-2", tree(vpstest.System{}, "new.nix", "new\n"))
			assert.Equal(t, "new\n", s.ReadFile("etc/nixos/new.nix"))
		})
	}
}

// told gives what a run's status says of the system that was built.
func told(t *testing.T, s *vpstest.Server, system vpstest.System) map[string]string {
	t.Helper()
	a := s.NewArchive("run-1", tree(system, "new.nix", "new\n"))
	a.Request["action"] = "build"
	client := dial(t, s)
	f := follow(t, client, start(t, client, a))
	defer f.close()
	require.Equal(t, "built", f.until("end").Fields["result"], s.RunFile("run-1", "log"))
	said := map[string]string{}
	for _, status := range f.seen {
		if status.Phase == run.PhaseBuilt {
			for key, value := range status.Fields {
				said[key] = value
			}
		}
	}
	delete(said, "system")
	return said
}

// The laptop is told what the built system says of itself; what is missing, foreign,
// huge or a lie is not told, and changes nothing.
func TestBuiltSystemTellsItsFacts(t *testing.T) {
	t.Parallel()
	const good = `{"version":1,"sshPorts":[2222],"note":"a message=b facts=c"}`
	sshd := vpstest.WithPrograms(map[string]string{"sshd": `#!/bin/sh
[ "$1" = -T ] || exit 255
echo "port 22
addressfamily any
listenaddress 0.0.0.0:2200
ListenAddress [::]:2200
listenaddress 10.0.0.1:2222
listenaddress [::]:99x
subsystem sftp"`})
	for _, c := range []struct {
		name, facts string
		port        int
		want        map[string]string
	}{
		{"its facts", good + "\n", 2222, map[string]string{"facts": good}},
		{"none, no sshd", "", 0, map[string]string{}},
		{"none, but an sshd", "", 2222, map[string]string{"ports": "2200,2222"}},
		{"two lines", good + "\n" + good + "\n", 0, map[string]string{}},
		{"a terminal's escape", "{\"a\":\"\x1b[2J\"}", 0, map[string]string{}},
		{"no object", `"` + good + `"`, 0, map[string]string{}},
		{"huge", `{"a":"` + strings.Repeat("a", 300<<10) + `"}`, 2222, map[string]string{"ports": "2200,2222"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := vpstest.Start(t, vpstest.WithTree(old()), sshd)
			assert.Equal(t, c.want, told(t, s, vpstest.System{Facts: c.facts, Port: c.port}))
		})
	}
}

// A supervisor that dies before its log is open said nothing anywhere.
func TestLastWordsOfASupervisorAreKept(t *testing.T) {
	t.Parallel()
	variants(t, func(t *testing.T, options ...vpstest.Option) {
		s := vpstest.Start(t, options...)
		a := s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", "new\n"))
		a.Supervisor = []byte(strings.Replace(string(run.Supervisor()), "\nperform() {", "\nperform() {\n    echo no-such-thing: not found >&2; : >\"$run/alive\"; : >\"$run/pid\"; exit 1", 1))
		f := follow(t, dial(t, s), start(t, dial(t, s), a))
		defer f.close()
		assert.Contains(t, f.until("gone").Message, "no-such-thing: not found")
		assert.Contains(t, s.RunFile("run-1", "log"), "no-such-thing: not found")
	})
}

// Names of runs tell the time of the laptop: one of 2099 stayed the last run for ever.
func TestLastRunIsTheOneThatCameLast(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	for _, id := range []string{"20990101T000000000Z-aaaaaaaa", "20261128T000000000Z-bbbbbbbb"} {
		a := s.NewArchive(id, tree(vpstest.System{}, "new.nix", id))
		a.Request["confirm"] = "0"
		require.Equal(t, "committed", ended(t, s, a).Fields["result"])
	}
	facts, err := run.ParseFacts(strings.NewReader(runCommand(t, dial(t, s), run.Shell{}.Facts(run.FactsQuery{}))))
	require.NoError(t, err)
	assert.Equal(t, "20261128T000000000Z-bbbbbbbb", facts.LastRun)
}
