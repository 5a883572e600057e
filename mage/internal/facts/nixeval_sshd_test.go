package facts

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The real sshd, with the settings that security.nix has and the mode that
// sops.nix gives the file of keys, lets in root and openclaw and nobody else.
func TestSSHDLetsInRootAndOpenclaw(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	c := needNix(t).assemble(t, nil).configs(t)["vps-x86"]
	path, mode := declaredKey(t, c)
	assert.Equal(t, []string{
		"root with our key: root",
		"openclaw with our key: openclaw",
		"guest with our key: refused",
		"root with another key: refused",
		"openclaw with another key: refused",
		"openclaw with a key of its own making: refused",
		"root while the folder is writable for all: refused",
		"root when it is not: root",
		"openclaw with a key of openclaw's list: openclaw",
		"root with a key of openclaw's list: refused",
	}, runSSHD(t, c, path, mode))
}

// Why the mode is 0444: sshd reads the file as the user who logs in.
func TestSSHDWithAPrivateKeyFileLetsInOnlyRoot(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	c := needNix(t).assemble(t, nil).configs(t)["vps-x86"]
	path, _ := declaredKey(t, c)
	got := runSSHD(t, c, path, "0400")
	assert.Equal(t, []string{"root with our key: root", "openclaw with our key: refused"}, got[:2])
}

// needNamespaces: with VPS_E2E=1 everything must be there.
func needNamespaces(t *testing.T) {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "root"
	}
	for _, program := range []string{"unshare", "sshd", "ssh", "ssh-keygen", "ssh-keyscan", "ip", "timeout"} {
		if _, err := exec.LookPath(program); err != nil && missing == "" {
			missing = program
		}
	}
	if missing == "" {
		if err := exec.Command("unshare", "-m", "-n", "mount", "-t", "tmpfs", "tmpfs", "/run").Run(); err != nil {
			missing = "mount and network namespaces"
		}
	}
	switch {
	case missing == "":
	case os.Getenv("VPS_E2E") == "1":
		t.Fatalf("VPS_E2E=1 needs %s", missing)
	default:
		t.Skipf("needs %s, to run a real sshd with users of its own", missing)
	}
}

// declaredKey is the secret with the keys that may log in.
func declaredKey(t *testing.T, c config) (path, mode string) {
	t.Helper()
	secret := config(c.at(t, "sops", "secrets", "ssh-public-key").(map[string]any))
	return secret.at(t, "path").(string), secret.at(t, "mode").(string)
}

func runSSHD(t *testing.T, c config, secret, mode string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"sshd_config": sshdConfig(t, c, dir),
		"passwd": "root:x:0:0::/run/home/root:/bin/sh\nopenclaw:x:1000:100::/run/home/openclaw:/bin/sh\n" +
			"guest:x:1001:100::/run/home/guest:/bin/sh\nsshd:x:998:998::/run/sshd:/usr/sbin/nologin\n",
		"group":  "root:x:0:\nkeys:x:96:\nusers:x:100:\nsshd:x:998:\n",
		"shadow": "root:*:1::::::\nopenclaw:*:1::::::\nguest:*:1::::::\nsshd:*:1::::::\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	for _, key := range []string{"ours", "other", "host"} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "-n", "../../../testdata/nix-inputs/sshd.sh", dir, secret, mode)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	log, _ := os.ReadFile(filepath.Join(dir, "sshd.log"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("sshd said:\n%s", log)
		}
	})
	require.NoError(t, err, stderr.String())
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// sshdConfig is security.nix as sshd has it. The rest is as NixOS renders it,
// seen in a complete evaluation; UsePAM is not, as PAM is the machine's.
func sshdConfig(t *testing.T, c config, dir string) string {
	t.Helper()
	settings := c.at(t, "services", "openssh", "settings").(map[string]any)
	require.Len(t, settings, 4, "a setting that is new needs a look here")
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s %s\n", name, sshdValue(settings[name]))
	}
	path, _ := declaredKey(t, c)
	fmt.Fprintf(&text, "Port %v\nListenAddress 127.0.0.1\nHostKey %s/host\nPidFile none\n",
		c.at(t, "services", "openssh", "ports").([]any)[0], dir)
	fmt.Fprintf(&text, "AuthorizedKeysFile %s /run/authorized_keys.d/%%u\n", path)
	text.WriteString("StrictModes yes\nLogLevel VERBOSE\nUsePAM no\n")
	return text.String()
}

func sshdValue(value any) string {
	switch v := value.(type) {
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case []any:
		words := make([]string, len(v))
		for i, item := range v {
			words[i] = sshdValue(item)
		}
		return strings.Join(words, " ")
	}
	return fmt.Sprint(value)
}
