package facts

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Both hosts are evaluated by Nix, as they are deployed, with stand-ins for the
// inputs; each line below keeps a fault away that locks out, leaks or loses.
func TestNixConfigurations(t *testing.T) {
	t.Parallel()
	hosts := needNix(t).assemble(t, nil).configs(t)
	require.Len(t, hosts, 2)
	for name, kernels := range map[string]float64{"vps-x86": 5, "vps-arm": 3} {
		c := hosts[name]
		require.NotNil(t, c, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("ssh", func(t *testing.T) { checkSSH(t, c) })
			t.Run("firewall", func(t *testing.T) { checkFirewall(t, c) })
			t.Run("upgrade", func(t *testing.T) { checkUpgrade(t, c, name) })
			t.Run("secrets", func(t *testing.T) { checkSecrets(t, c) })
			t.Run("disk", func(t *testing.T) { checkDisk(t, c, kernels) })
			t.Run("users", func(t *testing.T) { checkUsers(t, c) })
			t.Run("openclaw", func(t *testing.T) { checkOpenclaw(t, c) })
			t.Run("sandbox", func(t *testing.T) { checkSandbox(t, c) })
			t.Run("recovery", func(t *testing.T) { checkRecovery(t, c) })
			t.Run("unattended", func(t *testing.T) { checkUnattended(t, c, name == "vps-arm") })
			t.Run("small", func(t *testing.T) { checkSmallServer(t, c) })
		})
	}
}

func checkSSH(t *testing.T, c config) {
	assert.Equal(t, []any{2222.0}, c.at(t, "services", "openssh", "ports"))
	assert.Equal(t, map[string]any{
		"PasswordAuthentication": false, "KbdInteractiveAuthentication": false,
		"PermitRootLogin": "prohibit-password", "AllowUsers": []any{"root", "openclaw"},
	}, c.at(t, "services", "openssh", "settings"))
	assert.ElementsMatch(t, []string{"/run/secrets-for-users/ssh-public-key", "/etc/ssh/authorized_keys.d/%u"}, c.strings(t, "services", "openssh", "authorizedKeysFiles"))
	assert.Equal(t, false, c.at(t, "services", "openssh", "authorizedKeysInHomedir"))
	assert.Equal(t, []any{map[string]any{"path": "/etc/ssh/ssh_host_ed25519_key", "type": "ed25519"}},
		c.at(t, "services", "openssh", "hostKeys"), "bootstrap makes and pins this one only")
}

func checkFirewall(t *testing.T, c config) {
	assert.Equal(t, true, c.at(t, "networking", "firewall", "enable"))
	assert.ElementsMatch(t, []any{2222.0, 443.0}, c.at(t, "networking", "firewall", "allowedTCPPorts"))
	assert.NotContains(t, c.at(t, "networking", "firewall"), "allowedUDPPorts")
	assert.Equal(t, map[string]any{
		"enable": true, "maxretry": 5.0, "bantime": "1h",
		"bantime-increment": map[string]any{"enable": true, "maxtime": "168h"},
	}, c.at(t, "services", "fail2ban"), "the sshd jail exists by itself and takes sshd's port")
	filter := c.at(t, "environment", "etc", "fail2ban/filter.d/sshd.local", "text")
	assert.Contains(t, filter, "authenticating user", "what it counts is shown by TestFail2ban in e2e")
	assert.Equal(t, []any{filter}, c.at(t, "systemd", "services", "fail2ban", "restartTriggers"))
}

func checkSecrets(t *testing.T, c config) {
	assert.Equal(t, map[string]any{"keyFile": "/var/lib/sops-nix/key.txt", "sshKeyPaths": []any{}}, c.at(t, "sops", "age"))
	assert.Equal(t, []any{}, c.at(t, "sops", "gnupg", "sshKeyPaths"))
	assert.Regexp(t, `/secrets/secrets\.yaml$|-secrets\.yaml$`, c.at(t, "sops", "defaultSopsFile"))
	for _, want := range shipped {
		s := config(c.at(t, "sops", "secrets", want.Name).(map[string]any))
		assert.Equal(t, want.Path, s.at(t, "path"))
		assert.Equal(t, want.Mode, s.at(t, "mode"))
		assert.Equal(t, want.NeededForUsers, s.at(t, "neededForUsers"))
		if owner := s.at(t, "owner"); want.Owner == "root" {
			assert.Nil(t, owner)
		} else {
			assert.Equal(t, want.Owner, owner)
		}
	}
}

func checkDisk(t *testing.T, c config, kernels float64) {
	disk := config(c.at(t, "disko", "devices", "disk", "main").(map[string]any))
	assert.Equal(t, "/dev/sda", disk.at(t, "device"))
	assert.Equal(t, "gpt", disk.at(t, "content", "type"))
	assert.Equal(t, map[string]any{
		"boot": map[string]any{"size": "1M", "type": "EF02"},
		"ESP": map[string]any{"size": "512M", "type": "EF00", "content": map[string]any{
			"type": "filesystem", "format": "vfat", "mountpoint": "/boot", "mountOptions": []any{"umask=0077"},
		}},
		"root": map[string]any{"size": "100%", "content": map[string]any{
			"type": "filesystem", "format": "ext4", "mountpoint": "/",
		}},
	}, disk.at(t, "content", "partitions"))
	assert.Equal(t, map[string]any{
		"enable": true, "efiSupport": true, "efiInstallAsRemovable": true,
		"devices":            []any{"/dev/sda"}, // by disko alone: twice is an error
		"configurationLimit": kernels,
	}, c.at(t, "boot", "loader", "grub"))
	assert.Contains(t, c.strings(t, "boot", "initrd", "availableKernelModules"), "virtio_scsi")
}

func checkUsers(t *testing.T, c config) {
	openclaw := c.at(t, "users", "users", "openclaw").(map[string]any)
	assert.Equal(t, true, openclaw["isNormalUser"])
	assert.Equal(t, true, openclaw["linger"], "its services start at boot")
	assert.NotContains(t, openclaw, "extraGroups", "no sudo")
	assert.NotContains(t, c.at(t, "users"), "mutableUsers", "false trips the lock-out assertion")
}

func checkOpenclaw(t *testing.T, c config) {
	home := config(c.at(t, "home-manager", "users", "openclaw").(map[string]any))
	openclaw := config(home.at(t, "programs", "openclaw").(map[string]any))
	assert.Equal(t, map[string]any{
		"mode": "local", "bind": "loopback",
		"auth": map[string]any{"mode": "token", "token": map[string]any{
			"source": "file", "provider": "sops", "id": "value",
		}},
	}, openclaw.at(t, "config", "gateway"))
	assert.Equal(t, map[string]any{"source": "file", "path": "/run/secrets/gateway-token", "mode": "singleValue"},
		openclaw.at(t, "config", "secrets", "providers", "sops"))
	assert.NotContains(t, openclaw, "environment", "a path in a variable becomes the token when the file is missing")
	assert.Equal(t, false, openclaw.at(t, "bundledPlugins", "goplaces", "enable"))

	unit := config(home.at(t, "systemd", "user", "services", "openclaw-gateway").(map[string]any))
	assert.Equal(t, []string{"default.target"}, unit.strings(t, "Install", "WantedBy"))
	assert.Equal(t, "journal", unit.at(t, "Service", "StandardOutput"))
	assert.Equal(t, "journal", unit.at(t, "Service", "StandardError"))
	assert.Equal(t, []string{
		c.at(t, "sops", "secrets", "gateway-token", "sopsFileHash").(string),
		home.at(t, "home", "file", ".openclaw/openclaw.json", "source").(string),
	}, unit.strings(t, "Unit", "X-Restart-Triggers"))
}

// systemd-analyze security --offline says 1.8 of this, and 9.2 without. That a Node program runs so
// was seen under the user manager of systemd 257.
func checkSandbox(t *testing.T, c config) {
	service := config(c.at(t, "home-manager", "users", "openclaw", "systemd", "user", "services", "openclaw-gateway", "Service").(map[string]any))
	for _, name := range []string{"NoNewPrivileges", "PrivateTmp", "PrivateDevices", "RestrictNamespaces", "RestrictSUIDSGID"} {
		assert.Equal(t, true, service.at(t, name), name)
	}
	assert.Equal(t, "strict", service.at(t, "ProtectSystem"))
	assert.Equal(t, []string{"%h"}, service.strings(t, "ReadWritePaths"))
	assert.Contains(t, service.strings(t, "InaccessiblePaths"), "-/nix/var/nix/daemon-socket")
	assert.NotContains(t, service, "MemoryDenyWriteExecute", "Node compiles as it runs")
	assert.Contains(t, service, "MemoryMax")
	assert.Contains(t, service, "TasksMax")
	assert.Equal(t, "asDropin", c.at(t, "systemd", "slices", "user-", "overrideStrategy"), "there is no slice of that name")
	assert.Contains(t, c.strings(t, "systemd", "slices", "user-", "sliceConfig", "IPAddressDeny"), "169.254.169.254")
	assert.ElementsMatch(t, []string{"root", "@wheel", "openclaw"}, c.strings(t, "nix", "settings", "allowed-users"),
		"Home Manager asks the daemon as the user")
}

// What fails, nobody is at the console to see.
func checkUnattended(t *testing.T, c config, arm bool) {
	assert.Equal(t, false, c.at(t, "systemd", "enableEmergencyMode"))
	assert.Equal(t, "30s", c.at(t, "systemd", "settings", "Manager", "RuntimeWatchdogSec"))
	assert.Contains(t, c.strings(t, "boot", "kernelModules"), "softdog")
	parameters := c.strings(t, "boot", "kernelParams")
	assert.Contains(t, parameters, "panic=30")
	assert.Contains(t, parameters, "boot.panic_on_fail")
	assert.Equal(t, arm, slices.Contains(parameters, "console=tty1"))
	assert.Equal(t, true, c.at(t, "boot", "growPartition"))
	assert.Equal(t, true, c.at(t, "fileSystems", "/", "autoResize"))
	assert.Equal(t, "batch", c.at(t, "nix", "daemonCPUSchedPolicy"))
	assert.Equal(t, 250.0, c.at(t, "systemd", "services", "nix-daemon", "serviceConfig", "OOMScoreAdjust"))
}

func checkSmallServer(t *testing.T, c config) {
	assert.Equal(t, true, c.at(t, "zramSwap", "enable"))
	assert.Equal(t, []any{map[string]any{"device": "/var/lib/swapfile", "size": 4096.0}}, c.at(t, "swapDevices"))
	assert.Equal(t, 1.0, c.at(t, "nix", "settings", "max-jobs"))
	assert.Equal(t, []string{"nix-command", "flakes"}, c.strings(t, "nix", "settings", "experimental-features"))
	assert.Equal(t, "weekly", c.at(t, "nix", "gc", "dates"))
	assert.Equal(t, "vps", c.at(t, "networking", "hostName"))
	assert.Equal(t, "UTC", c.at(t, "time", "timeZone"))
	assert.Equal(t, "26.05", c.at(t, "system", "stateVersion"))
	assert.Empty(t, c.at(t, "networking", "interfaces"), "no address without one")
}

func checkRecovery(t *testing.T, c config) {
	unit := config(c.at(t, "systemd", "services", "vps-recover").(map[string]any))
	assert.Equal(t, []string{"multi-user.target"}, unit.strings(t, "wantedBy"))
	assert.Equal(t, []string{"local-fs.target"}, unit.strings(t, "after"))
	assert.Equal(t, []string{"nixos-upgrade.service"}, unit.strings(t, "before"))
	assert.Equal(t, []string{"/var/lib/vps/intent", "/var/lib/vps/supervisor.sh"}, unit.strings(t, "unitConfig", "ConditionPathExists"))
	assert.Equal(t, "oneshot", unit.at(t, "serviceConfig", "Type"))
	assert.Equal(t, "/pkgs/bash/bin/sh /var/lib/vps/supervisor.sh recover", unit.at(t, "serviceConfig", "ExecStart"))
	assert.Equal(t, false, unit.at(t, "restartIfChanged"))
	for _, program := range []string{"coreutils", "findutils", "util-linux", "gnutar", "gnugrep", "gnused", "systemd", "nix"} {
		assert.Contains(t, unit.strings(t, "path"), "/pkgs/"+program)
	}
	assert.Contains(t, c.strings(t, "systemd", "tmpfiles", "rules"), "d /var/lib/vps 0700 root root -")
	checkConditions(t, c.strings(t, "systemd", "services", "nixos-upgrade", "serviceConfig", "ExecCondition"))
}

// checkConditions runs what systemd would run before nixos-upgrade, on a state
// folder of the test's own.
func checkConditions(t *testing.T, scripts []string) {
	require.Len(t, scripts, 2)
	if _, err := exec.LookPath("flock"); err != nil {
		t.Skip("needs flock, which macOS does not have")
	}
	state := t.TempDir()
	passes := func() bool {
		for _, script := range scripts {
			script = strings.NewReplacer("/var/lib/vps", state, "/pkgs/util-linux/bin/", "", "/pkgs/coreutils/bin/", "").Replace(script)
			_, body, _ := strings.Cut(script, "\n")
			if err := exec.Command("sh", "-c", body).Run(); err != nil {
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit)
				require.Equal(t, 1, exit.ExitCode(), "255 would make the unit fail")
				return false
			}
		}
		return true
	}
	lock, intent := filepath.Join(state, "lock"), filepath.Join(state, "intent")

	assert.True(t, passes(), "no deployment ever ran")
	assert.NoFileExists(t, lock)
	require.NoError(t, os.WriteFile(lock, nil, 0o600))
	assert.True(t, passes(), "the last one has ended")

	holder := exec.Command("flock", lock, "sh", "-c", "echo held; read -r _")
	stdin, err := holder.StdinPipe()
	require.NoError(t, err)
	stdout, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	_, err = stdout.Read(make([]byte, 5))
	require.NoError(t, err)
	assert.False(t, passes(), "one is running")
	require.NoError(t, stdin.Close())
	_ = holder.Wait() // read fails at the end of input
	assert.True(t, passes(), "it has ended")

	require.NoError(t, os.WriteFile(intent, nil, 0o600))
	assert.False(t, passes(), "one was interrupted")
}

// One line leaves OpenClaw out, with its user, its secret and its keys.
func TestNixWithoutOpenclaw(t *testing.T) {
	t.Parallel()
	n := needNix(t).assemble(t, with(t, "modules/openclaw.nix", "default = true;", "default = false;"))
	for _, c := range n.configs(t) {
		assert.NotContains(t, c.at(t, "users", "users"), "openclaw")
		assert.NotContains(t, c.at(t, "sops", "secrets"), "gateway-token")
		assert.Contains(t, c.at(t, "sops", "secrets"), "ssh-public-key")
		assert.Equal(t, []string{"root"}, c.strings(t, "services", "openssh", "settings", "AllowUsers"))
		assert.Empty(t, c.at(t, "home-manager", "users"))
	}
}

// Keys in plain text, and no secret: each list opens its user, and the admins' all.
func TestNixLoginKeysInPlainText(t *testing.T) {
	t.Parallel()
	changes := with(t, "flake.nix", `{ nixpkgs.hostPlatform = system; }`, `{
		nixpkgs.hostPlatform = system;
		vps.admins = [ "ssh-ed25519 admin" ];
		vps.adminsSecret = null;
		vps.openclaw.sshKeys = [ "ssh-ed25519 user" ];
	}`)
	for _, c := range needNix(t).assemble(t, changes).configs(t) {
		assert.Equal(t, []string{"ssh-ed25519 admin"}, c.strings(t, "users", "users", "root", "openssh", "authorizedKeys", "keys"))
		assert.Equal(t, []string{"ssh-ed25519 admin", "ssh-ed25519 user"},
			c.strings(t, "users", "users", "openclaw", "openssh", "authorizedKeys", "keys"))
		assert.NotContains(t, c.at(t, "sops", "secrets"), "ssh-public-key")
		assert.Equal(t, []string{"/etc/ssh/authorized_keys.d/%u"}, c.strings(t, "services", "openssh", "authorizedKeysFiles"))
		host, err := Parse([]byte(c.at(t, "environment", "etc", "vps/facts.json", "text").(string)))
		require.NoError(t, err)
		assert.Equal(t, []string{"ssh-ed25519 admin"}, host.RootKeys)
		assert.Equal(t, []string{}, host.RootKeyFiles)
		assert.Equal(t, []any{true}, assertions(t, c))
	}
}

// Without any key for root the build fails, with the reason.
func TestNixWithoutAnyLoginKeyIsRefused(t *testing.T) {
	t.Parallel()
	n := needNix(t).assemble(t, with(t, "modules/security.nix", `default = "ssh-public-key";`, "default = null;"))
	for _, c := range n.configs(t) {
		assert.Equal(t, []any{false}, assertions(t, c))
	}
}

// assertions are those of nix/ itself, as they turn out.
func assertions(t *testing.T, c config) []any {
	t.Helper()
	var results []any
	for _, a := range c.at(t, "assertions").([]any) {
		results = append(results, a.(map[string]any)["assertion"])
	}
	return results
}

// with is a file of nix/ in which one thing is replaced by another.
func with(t *testing.T, file, old, replacement string) files {
	t.Helper()
	text := ourFiles(t)[file]
	require.Equal(t, 1, strings.Count(text, old), "%q in %s", old, file)
	return files{file: strings.Replace(text, old, replacement, 1)}
}

// One line changes the port of sshd and of the firewall; fail2ban follows sshd.
func TestNixPortIsOneLine(t *testing.T) {
	t.Parallel()
	security := strings.Replace(ourFiles(t)["modules/security.nix"], "default = 2222;", "default = 2022;", 1)
	nix := needNix(t).assemble(t, files{"modules/security.nix": security})
	for _, c := range nix.configs(t) {
		assert.Equal(t, []any{2022.0}, c.at(t, "services", "openssh", "ports"))
		assert.ElementsMatch(t, []any{2022.0, 443.0}, c.at(t, "networking", "firewall", "allowedTCPPorts"))
	}
}

func TestNixStaticIPv6(t *testing.T) {
	t.Parallel()
	system := strings.Replace(ourFiles(t)["modules/system.nix"], "default = null;", `default = "2001:db8::1";`, 1)
	nix := needNix(t).assemble(t, files{"modules/system.nix": system})
	for _, c := range nix.configs(t) {
		assert.Equal(t, []any{map[string]any{"address": "2001:db8::1", "prefixLength": 64.0}},
			c.at(t, "networking", "interfaces", "enp1s0", "ipv6", "addresses"))
		assert.Equal(t, map[string]any{"address": "fe80::1", "interface": "enp1s0"}, c.at(t, "networking", "defaultGateway6"))
	}
}

func TestNixFlakeHasChecksAndFormatter(t *testing.T) {
	t.Parallel()
	nix := needNix(t).assemble(t, nil)
	for output, want := range map[string]string{
		"checks":    `{"aarch64-linux":["vps-arm"],"x86_64-linux":["vps-x86"]}`,
		"formatter": `{"aarch64-linux":"/pkgs/nixfmt-tree","x86_64-linux":"/pkgs/nixfmt-tree"}`,
	} {
		out, err := nix.Eval(t.Context(), "--json", "--no-write-lock-file", "path:"+nix.tree()+"#"+output,
			"--apply", `builtins.mapAttrs (_: v: if builtins.isAttrs v then builtins.attrNames v else v)`)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(out))
	}
}

// Nix itself must find flake.lock complete: it would have to change it otherwise,
// which it refuses here.
func TestNixAcceptsTheLock(t *testing.T) {
	t.Parallel()
	nix := needNix(t).assemble(t, nil)
	argv := append([]string{"nix"}, nixOptions...)
	out, err := nix.run(t.Context(), append(argv, "flake", "metadata", "--json", "--no-update-lock-file", "path:"+nix.tree()))
	require.NoError(t, err)
	var metadata struct {
		Locks json.RawMessage `json:"locks"`
	}
	require.NoError(t, json.Unmarshal(out, &metadata))
	assert.JSONEq(t, ourFiles(t)["flake.lock"], string(metadata.Locks))
}

func TestNixFilesParse(t *testing.T) {
	t.Parallel()
	nix := needNix(t).assemble(t, nil)
	argv := []string{"nix-instantiate", "--parse"}
	for _, dir := range []string{"tree", "inputs"} {
		err := filepath.WalkDir(filepath.Join(nix.dir, dir), func(path string, _ os.DirEntry, err error) error {
			if filepath.Ext(path) == ".nix" {
				rel, _ := filepath.Rel(nix.dir, path)
				argv = append(argv, nix.at+"/"+filepath.ToSlash(rel))
			}
			return err
		})
		require.NoError(t, err)
	}
	require.Greater(t, len(argv), 10)
	_, err := nix.run(t.Context(), argv)
	require.NoError(t, err)
}
