package facts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func checkUpgrade(t *testing.T, c config, output string) {
	assert.Equal(t, map[string]any{
		"enable": true, "flake": "path:/etc/nixos#" + output, "upgrade": false,
		"flags": []any{"--override-input", "nixpkgs", "github:NixOS/nixpkgs/nixos-26.05"},
		"dates": "03:30", "randomizedDelaySec": "30min",
	}, c.at(t, "system", "autoUpgrade"))
	script := c.at(t, "systemd", "services", "nixos-upgrade", "script").(string)
	assert.Contains(t, script, "nixos-rebuild build --override-input nixpkgs github:NixOS/nixpkgs/nixos-26.05")
	assert.Contains(t, script, "ssh-keyscan -p 2222 ")
}

// What the nightly upgrade does, with programs that only write down how they were
// called. Nothing becomes the system that starts before it was seen to be healthy.
func TestNixUpgrade(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash")
	}
	script := needNix(t).assemble(t, nil).configs(t)["vps-x86"].at(t, "systemd", "services", "nixos-upgrade", "script").(string)
	const guard = "systemd-run --quiet --unit=vps-upgrade-deadline --on-active=20min systemctl reboot"
	const release = "systemctl stop vps-upgrade-deadline.timer"
	for _, c := range []struct {
		name  string
		env   []string
		calls []string
		fails bool
	}{
		{name: "nothing new", env: []string{"NEW=old"}},
		{name: "healthy", calls: []string{guard, "new test", "nix-env --set new", "new boot", release}},
		{name: "a unit failed to start, but had failed before", env: []string{"FAILED=a.service", "SWITCH=4"},
			calls: []string{guard, "new test", "nix-env --set new", "new boot", release}},
		{name: "a unit fails since", env: []string{"FAILS_NEW=b.service"},
			calls: []string{guard, "new test", "old test", release}, fails: true},
		{name: "sshd does not answer", env: []string{"SSHD=off"},
			calls: []string{guard, "new test", "old test", release}, fails: true},
		{name: "the switch fails", env: []string{"SWITCH=2"},
			calls: []string{guard, "new test", "old test", release}, fails: true},
		{name: "the old system does not come back", env: []string{"SWITCH=2", "BACK=no"},
			calls: []string{guard, "new test", "old test", "systemctl reboot", release}, fails: true},
		{name: "the boot loader fails", env: []string{"BOOT=1"},
			calls: []string{guard, "new test", "nix-env --set new", "new boot", "nix-env --rollback", release}, fails: true},
		{name: "the build fails", env: []string{"BUILD=1"}, fails: true},
		{name: "an inhibitor, in the window", env: []string{"CHECK=re-switch checks failed"},
			calls: []string{"nix-env --set new", "new boot", "shutdown -r"}},
		{name: "an inhibitor, by day", env: []string{"CHECK=re-switch checks failed", "NOW=12:00"},
			calls: []string{"nix-env --set new", "new boot"}},
		{name: "a new kernel, in the window", env: []string{"KERNEL=6.19"},
			calls: []string{guard, "new test", "nix-env --set new", "new boot", "shutdown -r", release}},
		{name: "a new kernel, by day", env: []string{"KERNEL=6.19", "NOW=12:00"},
			calls: []string{guard, "new test", "nix-env --set new", "new boot", release}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			calls, err := runUpgrade(t, script, c.env)
			assert.Equal(t, c.fails, err != nil, "%v", err)
			assert.Equal(t, c.calls, calls)
		})
	}
}

// runUpgrade runs the script on a folder of its own, as systemd would.
func runUpgrade(t *testing.T, script string, env []string) ([]string, error) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	}
	for name, text := range map[string]string{
		"nixos-rebuild": `[ "${BUILD-0}" = 0 ] && ln -s "$DIR/${NEW-new}" result`,
		"nix-env": `[ "$3" = --set ] || { echo "nix-env $3" >>"$DIR/calls"; exit; }
			echo "nix-env --set ${4##*/}" >>"$DIR/calls"; ln -sfn "$4" "$DIR/profile"`,
		"systemctl": `case "$1 $2" in
			"list-units --plain") for unit in ${FAILED-}; do echo "$unit loaded failed"; done
				[ ! -e "$DIR/switched" ] || for unit in ${FAILS_NEW-}; do echo "$unit loaded failed"; done ;;
			"--user "*) ;;
			*) echo "systemctl $*" >>"$DIR/calls" ;;
			esac`,
		"systemd-run": `echo "systemd-run $*" >>"$DIR/calls"`,
		"ssh-keyscan": `[ "${SSHD-on}" = off ] || echo "127.0.0.1 ssh-ed25519 AAAA"`,
		"shutdown":    `echo "shutdown $1" >>"$DIR/calls"`,
		"date":        `echo "${NOW-04:00}"`,
		"sleep":       `:`,
	} {
		write("bin/"+name, "#!/bin/sh\n"+text+"\n")
	}
	for _, system := range []string{"old", "new"} {
		write(system+"/bin/switch-to-configuration", `#!/bin/sh
[ "$1" != check ] || { echo "${CHECK-}"; exit 0; }
echo "`+system+` $1" >>"$DIR/calls"
[ "$1" = test ] || exit "${BOOT-0}"
[ "`+system+`-${BACK-}" != old-no ] || exit 1
ln -sfn "$DIR/`+system+`" "$DIR/current"
[ "`+system+`" = old ] || { : >"$DIR/switched"; exit "${SWITCH-0}"; }
`)
		for _, part := range []string{"kernel", "initrd", "kernel-modules"} {
			require.NoError(t, os.Symlink("../kernel-6.18", filepath.Join(dir, system, part)))
		}
	}
	write("kernel-6.18", "")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "work"), 0o755))
	for _, e := range env {
		if version, ok := strings.CutPrefix(e, "KERNEL="); ok {
			write("kernel-"+version, "")
			require.NoError(t, os.Remove(filepath.Join(dir, "new/kernel")))
			require.NoError(t, os.Symlink("../kernel-"+version, filepath.Join(dir, "new/kernel")))
		}
	}
	for _, link := range []string{"current", "booted", "profile"} {
		require.NoError(t, os.Symlink(filepath.Join(dir, "old"), filepath.Join(dir, link)))
	}
	script = strings.NewReplacer("/run/current-system", dir+"/current", "/run/booted-system", dir+"/booted",
		"/nix/var/nix/profiles/system", dir+"/profile", "/var/lib/systemd/linger", dir+"/linger").Replace(script)
	cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", script)
	cmd.Dir = filepath.Join(dir, "work")
	cmd.Env = append(append(os.Environ(), "DIR="+dir, "PATH="+dir+"/bin:"+os.Getenv("PATH")), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s", out)
	}
	text, _ := os.ReadFile(filepath.Join(dir, "calls"))
	if len(text) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), err
}
