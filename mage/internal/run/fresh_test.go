package run

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const freshAnswer = `Welcome to this server
fresh=1
kernel=Linux
arch=x86_64
uid=0
hostname=web
os=Debian GNU/Linux 13
memory=2014020
tar=1
cpio=1
setsid=1
disk=/dev/sda
nodisk=/dev/sdb
blockdevice=sda 40G QEMU
mount=/dev/sda1 on / (ext4)
record.who=alice
record.generation=7
generation=7
end
`

func TestParseFresh(t *testing.T) {
	t.Parallel()
	f, err := ParseFresh(strings.NewReader(freshAnswer))
	require.NoError(t, err)
	assert.Equal(t, FreshFacts{
		Kernel: "Linux", Arch: "x86_64", Hostname: "web", OS: "Debian GNU/Linux 13", Memory: 2014020 << 10,
		Tar: true, Cpio: true, Setsid: true, Disks: []string{"/dev/sda"}, Missing: []string{"/dev/sdb"},
		Devices: []string{"sda 40G QEMU"}, Mounts: []string{"/dev/sda1 on / (ext4)"}, Generation: 7,
		Record: &Record{Who: "alice", Generation: 7},
	}, f)
}

func TestParseFreshRefusesOddAnswers(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing": "", "cut": "fresh=1\nuid=0\n", "none of ours": "end\n",
		"memory": "fresh=1\nmemory=much\nend\n", "uid": "fresh=1\nuid=root\nend\n",
		"too many disks": "fresh=1\n" + strings.Repeat("disk=/dev/sda\n", maxList+1) + "end\n",
	} {
		_, err := ParseFresh(strings.NewReader(text))
		assert.Error(t, err, name)
	}
}

func FuzzParseFresh(f *testing.F) {
	f.Add(freshAnswer)
	f.Add("fresh=1\nend\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		facts, err := ParseFresh(strings.NewReader(text))
		if err == nil {
			assert.LessOrEqual(t, len(facts.Mounts), maxList)
			assert.GreaterOrEqual(t, facts.Memory, int64(0))
		}
	})
}

// shell runs a command of ours on this machine, its paths below root.
func shell(t *testing.T, root string, c Command) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", c.Line)
	cmd.Env = append(os.Environ(), "VPS_ROOT="+root)
	cmd.Stdin = strings.NewReader(c.Stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestFreshLooksAtAServer(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "proc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("PRETTY_NAME=\"A Linux\"\nVARIANT_ID=installer\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "proc/meminfo"), []byte("MemTotal:  1000 kB\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "proc/mounts"), []byte("/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n"), 0o600))

	f, err := ParseFresh(strings.NewReader(shell(t, root, Shell{}.Fresh([]string{"/dev/nothing here"}))))

	require.NoError(t, err)
	assert.Equal(t, "A Linux", f.OS)
	assert.True(t, f.Installer)
	assert.False(t, f.NixOS)
	assert.EqualValues(t, 1000<<10, f.Memory)
	assert.Equal(t, []string{"/dev/nothing here"}, f.Missing)
	assert.Equal(t, []string{"/dev/sda1 on / (ext4)"}, f.Mounts)
	assert.True(t, f.Tar)
	assert.Nil(t, f.Record)
}

func TestAuthorizeAndTakeBack(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{
		"other keys": "ssh-ed25519 AAAAother me\n", "no last newline": "ssh-ed25519 AAAAother me", "empty": "", "none": "-",
	} {
		root := t.TempDir()
		file := filepath.Join(root, "root/.ssh/authorized_keys")
		secret := filepath.Join(root, "run/secrets-for-users/ssh-public-key")
		require.NoError(t, os.MkdirAll(filepath.Join(root, "root"), 0o755))
		require.NoError(t, os.MkdirAll(filepath.Dir(secret), 0o755))
		require.NoError(t, os.WriteFile(secret, []byte("ssh-ed25519 AAAAother me\n"), 0o600))
		if before != "-" {
			require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
			require.NoError(t, os.WriteFile(file, []byte(before), 0o600))
		}
		const key = "ssh-ed25519 AAAAthrowaway vps run 1"

		shell(t, root, Shell{}.Authorize("root", key))

		for _, path := range []string{file, secret} {
			text, err := os.ReadFile(path)
			require.NoError(t, err, name)
			assert.Contains(t, strings.Split(string(text), "\n"), key, name)
			assert.Equal(t, path == secret || strings.Contains(before, "other"), strings.Contains(string(text), "AAAAother me\n"), name)
		}

		shell(t, root, Shell{}.Unauthorize("root", "ssh-ed25519 AAAAthrowaway another comment"))

		text, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, strings.Trim(before, "-\n"), strings.Trim(string(text), "\n"), name)
		text, err = os.ReadFile(secret)
		require.NoError(t, err)
		assert.Equal(t, "ssh-ed25519 AAAAother me\n", string(text))
	}
}
