package facts

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNixNotifiesNobodyUnlessAsked(t *testing.T) {
	t.Parallel()
	for _, c := range needNix(t).assemble(t, nil).configs(t) {
		assert.NotContains(t, c.at(t, "systemd", "services"), "vps-notify")
	}
}

// What is wrong is told once, and again when it comes back; the address is in the
// arguments of no program.
func TestNixNotify(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl", "df"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	changes := with(t, "flake.nix", `{ nixpkgs.hostPlatform = system; }`,
		`{ nixpkgs.hostPlatform = system; vps.notify.secret = "notify-url"; }`)
	c := needNix(t).assemble(t, changes).configs(t)["vps-x86"]
	assert.Equal(t, "vps-notify.service", c.at(t, "systemd", "services", "nixos-upgrade", "unitConfig", "OnFailure"))
	assert.Contains(t, c.at(t, "sops", "secrets"), "notify-url")
	script := c.at(t, "systemd", "services", "vps-notify", "script").(string)

	told := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told <- r.Method + " " + r.URL.Path + "\n" + string(body)
	}))
	defer server.Close()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	}
	write("secret", server.URL+"/a-topic")
	write("bin/systemctl", "#!/bin/sh\ncat \"$DIR/failed\"\n")
	write("bin/df", "#!/bin/sh\nprintf 'Use%% Mounted on\\n 42%% /\\n 97%% /boot\\n'\n")
	write("bin/date", "#!/bin/sh\n[ \"$1\" = -d ] && echo 8640000 || echo \"${NOW-0}\"\n")
	write("kernel", "")
	for _, name := range []string{"booted/kernel", "booted/initrd", "booted/kernel-modules", "profile/kernel", "profile/initrd", "profile/kernel-modules"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.Symlink("../kernel", filepath.Join(dir, name)))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "work"), 0o755))
	script = strings.NewReplacer("/run/booted-system", dir+"/booted", "/nix/var/nix/profiles/system", dir+"/profile",
		"/var/lib/systemd/linger", dir+"/linger", "/run/secrets/notify-url", dir+"/secret").Replace(script)
	run := func(failed string, env ...string) string {
		t.Helper()
		write("failed", failed)
		cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", script)
		cmd.Dir = filepath.Join(dir, "work")
		cmd.Env = append(append(os.Environ(), "DIR="+dir, "PATH="+dir+"/bin:"+os.Getenv("PATH")), env...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		select {
		case message := <-told:
			return message
		default:
			return ""
		}
	}

	assert.Equal(t, "POST /a-topic\nvps:\nnearly full: /boot\n", run(""))
	assert.Empty(t, run(""), "told already")
	assert.Equal(t, "POST /a-topic\nvps:\nunit in trouble: nixos-upgrade.service\n", run("nixos-upgrade.service loaded failed\n"))
	assert.Empty(t, run(""), "it is over")
	assert.Equal(t, "POST /a-topic\nvps:\nunit in trouble: nixos-upgrade.service\n", run("nixos-upgrade.service loaded failed\n"), "again")
	assert.Equal(t, "POST /a-topic\nvps:\nNixOS 26.05 gets no patches after 2026-12-31: move nix/flake.nix to the next release\n",
		run("nixos-upgrade.service loaded failed\n", "NOW=7000000"))
	require.NoError(t, os.Remove(filepath.Join(dir, "profile/initrd")))
	require.NoError(t, os.Symlink("../failed", filepath.Join(dir, "profile/initrd")))
	assert.Equal(t, "POST /a-topic\nvps:\na restart is pending\n", run("nixos-upgrade.service loaded failed\n", "NOW=7000000"))
}
