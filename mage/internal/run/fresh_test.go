package run

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
node=sda /dev/sda
decompressor=gzip
hostkey=ssh-ed25519 AAAA
blockdevice=NAME="sda" SIZE="40960" MODEL="QEMU HARDDISK   " SERIAL="s1" WWN="0x1" PTUUID="p"
blockdevice=NAME="zram0" SIZE="4096" MODEL="" SERIAL=""
byid=sda scsi-s1
left=77 p1/r1/alice@laptop/76 /nix/store/x-disko --yes
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
		Nodes: map[string]string{"/dev/sda": "sda"}, Decompressors: []string{"gzip"}, HostKeys: []string{"ssh-ed25519 AAAA"},
		Devices: []Device{{Node: "sda", Size: 40960, Model: "QEMU HARDDISK", Serial: "s1", WWN: "0x1", Table: "p", Names: []string{"scsi-s1"}}},
		Left:    []Leftover{{PID: "77", Mark: "p1/r1/alice@laptop/76", Command: "/nix/store/x-disko --yes"}},
		Mounts:  []string{"/dev/sda1 on / (ext4)"}, Generation: 7,
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

// world is a server's folder, in which sshd says what a test wants.
func world(t *testing.T, sshd string) (root string) {
	t.Helper()
	root = t.TempDir()
	write(t, filepath.Join(root, "usr/sbin/sshd"), "#!/bin/sh\ncat <<END\n"+sshd+"\nEND\n", 0o755)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "root"), 0o755))
	return root
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// Wherever sshd takes the keys of the person from, the installer, which takes along
// what is in the home, lets them in, too. Then nothing of it is left.
func TestAdmitWaysBackIn(t *testing.T) {
	t.Parallel()
	const person, laptop = "ssh-ed25519 AAAAperson", "ssh-ed25519 AAAAlaptop"
	for name, tc := range map[string]struct {
		sshd  string
		files map[string]string // of the server, and what is in them before
		own   []string          // keys that the home has then
		letIn string            // the file by which the install key gets in; "" for none
	}{
		"home": {"authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2",
			map[string]string{"root/.ssh/authorized_keys": person + " me\n"}, []string{person}, "root/.ssh/authorized_keys"},
		"no last newline": {"authorizedkeysfile .ssh/authorized_keys",
			map[string]string{"root/.ssh/authorized_keys": person + " me"}, []string{person}, "root/.ssh/authorized_keys"},
		"no file yet": {"authorizedkeysfile .ssh/authorized_keys", nil, nil, "root/.ssh/authorized_keys"},
		"a secret": {"authorizedkeysfile /run/secrets-for-users/ssh-public-key",
			map[string]string{"run/secrets-for-users/ssh-public-key": person + " me\n"}, []string{person}, "run/secrets-for-users/ssh-public-key"},
		"a file for each user": {"authorizedkeysfile /etc/ssh/keys/%u",
			map[string]string{"etc/ssh/keys/root": person + "\n"}, []string{person}, "etc/ssh/keys/root"},
		"a program": {"authorizedkeysfile none\nauthorizedkeyscommand /bin/echo " + person + " of %u\nauthorizedkeyscommanduser nobody",
			nil, []string{person}, ""},
		"certificates": {"authorizedkeysfile none\ntrustedusercakeys /etc/ssh/ca.pub", nil, nil, ""},
		"restricted keys stay restricted": {"authorizedkeysfile /keys",
			map[string]string{"keys": "command=\"backup\" ssh-ed25519 AAAAbackup\ncert-authority ssh-ed25519 AAAAauthority\n"}, nil, "keys"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := world(t, tc.sshd)
			for path, text := range tc.files {
				write(t, filepath.Join(root, path), text, 0o600)
			}
			a := Admission{Login: "root", Key: "ssh-ed25519 AAAAthrowaway vps", Own: []string{laptop}, Mark: "vps-install-1"}

			got, err := ParseAdmitted(strings.NewReader(shell(t, root, Shell{}.Admit(a))))

			require.NoError(t, err)
			assert.Equal(t, tc.letIn != "", got.LetIn)
			home := read(t, filepath.Join(root, "root/.ssh/authorized_keys"))
			for _, key := range append(tc.own, laptop, "ssh-ed25519 AAAAthrowaway") {
				assert.Regexp(t, `(?m)^`+key+` `, home)
			}
			assert.NotContains(t, home, "AAAAbackup")
			assert.NotContains(t, home, "AAAAauthority")
			if tc.letIn != "" {
				assert.Contains(t, strings.Split(read(t, filepath.Join(root, tc.letIn)), "\n"), "ssh-ed25519 AAAAthrowaway vps-install-1")
			}
			require.Len(t, got.HostKeys, 1)
			assert.Contains(t, read(t, filepath.Join(root, "etc/ssh/ssh_host_ed25519_key.pub")), got.HostKeys[0], "the installer shows it")
			info, err := os.Stat(filepath.Join(root, "etc/ssh/ssh_host_ed25519_key"))
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

			shell(t, root, Shell{}.Expel(a))

			for path, text := range tc.files {
				assert.Equal(t, strings.TrimSpace(text), strings.TrimSpace(read(t, filepath.Join(root, path))))
			}
			assert.NotContains(t, read(t, filepath.Join(root, "root/.ssh/authorized_keys")), "vps-install-1")
			assert.NoFileExists(t, filepath.Join(root, "etc/ssh/ssh_host_ed25519_key"))
		})
	}
}

// The installer knows host keys under their usual names only.
func TestAdmitTakesTheHostKeyFromWhereItIs(t *testing.T) {
	t.Parallel()
	root := world(t, "authorizedkeysfile .ssh/authorized_keys\nhostkey /persist/key")
	write(t, filepath.Join(root, "persist/key"), "private", 0o600)
	write(t, filepath.Join(root, "persist/key.pub"), "ssh-ed25519 AAAAhost web\n", 0o644)

	got, err := ParseAdmitted(strings.NewReader(shell(t, root, Shell{}.Admit(Admission{Login: "root", Key: "ssh-ed25519 AAAAt", Mark: "vps-install-1"}))))

	require.NoError(t, err)
	assert.Equal(t, []string{"ssh-ed25519 AAAAhost"}, got.HostKeys)
	assert.Equal(t, "private", read(t, filepath.Join(root, "etc/ssh/ssh_host_ed25519_key")))
	f, err := ParseFresh(strings.NewReader(shell(t, root, Shell{}.Fresh(nil))))
	require.NoError(t, err)
	assert.Equal(t, []string{"ssh-ed25519 AAAAhost"}, f.HostKeys)
}

// What an interrupted install left at work is found by its mark, and ended; that of
// another project is only found.
func TestLeftoversAreFoundAndEnded(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("only Linux has /proc")
	}
	root := world(t, "")
	require.NoError(t, os.Symlink("/proc", filepath.Join(root, "proc")))
	own, other := "p"+rand.Text(), "p"+rand.Text()
	start := func(mark string) chan error {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `trap "" TERM; while :; do sleep 0.1; done`)
		cmd.Env = append(os.Environ(), "VPS_INSTALL="+mark)
		require.NoError(t, cmd.Start())
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return done
	}
	ours, theirs := start(own+"/run/alice@laptop"), start(other+"/run/bob@desk")
	find := func(mark string) bool {
		f, err := ParseFresh(strings.NewReader(shell(t, root, Shell{}.Fresh(nil))))
		require.NoError(t, err)
		return slices.ContainsFunc(f.Left, func(l Leftover) bool { return strings.HasPrefix(l.Mark, mark+"/") })
	}
	require.Eventually(t, func() bool { return find(own) && find(other) }, 10*time.Second, 10*time.Millisecond)

	ended, stay, err := ParseEnded(strings.NewReader(shell(t, root, Shell{}.EndLeft(own))))

	require.NoError(t, err)
	assert.NotEmpty(t, ended)
	assert.Empty(t, stay)
	<-ours
	assert.True(t, find(other), "that of another is left alone")
	assert.Empty(t, theirs)
}
