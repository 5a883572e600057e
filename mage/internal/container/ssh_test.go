package container

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sshBefore puts the wrapper before a program that does instead of ssh what script
// says, and gives a call of it. The words that it gets are in "$@".
func sshBefore(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	own, real := t.TempDir(), t.TempDir()
	in := minimalInstall()
	in.Mark = "p1/7/alice@laptop"
	require.NoError(t, program.Write(filepath.Join(own, "ssh"), string(in.sshWrapper("/key/known_hosts"))))
	require.NoError(t, program.Write(filepath.Join(real, "ssh"), "#!/bin/sh\n"+script))
	cmd := exec.CommandContext(t.Context(), filepath.Join(own, "ssh"), args...)
	cmd.Env = append(os.Environ(), "PATH="+own+":"+real+":"+os.Getenv("PATH"))
	return cmd
}

// Each call that nixos-anywhere, ssh-copy-id and Nix make keeps its options and its
// destination; its command arrives as ssh would have put it together.
func TestSSHWrapperKeepsTheCall(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args    []string
		before  string // options and destination
		command string // "" for none
	}{
		"settings":                       {[]string{"-o", "IdentitiesOnly=yes", "-G", "root@server"}, "-o IdentitiesOnly=yes -G root@server", ""},
		"command":                        {[]string{"-T", "-i", "/key", "-p", "22", "root@server", "tar", "-C", "/mnt", "-xf-"}, "-T -i /key -p 22 root@server", "tar -C /mnt -xf-"},
		"after --":                       {[]string{"-o", "ConnectTimeout=10", "root@server", "--", "exit", "0"}, "-o ConnectTimeout=10 root@server", "exit 0"},
		"quotes":                         {[]string{"root@server", "echo 'a b' \"$HOME\""}, "root@server", "echo 'a b' \"$HOME\""},
		"only quotes":                    {[]string{"root@server", "'"}, "root@server", "'"},
		"lines":                          {[]string{"root@server", "echo a\necho b"}, "root@server", "echo a\necho b"},
		"nix":                            {[]string{"root@server", "-x", "-oIdentityFile=/key", "-oLocalCommand=echo started", "--", "nix-store", "--serve"}, "root@server -x -oIdentityFile=/key -oLocalCommand=echo started", "nix-store --serve"},
		"master":                         {[]string{"root@server", "-M", "-N", "-S", "/tmp/s"}, "root@server -M -N -S /tmp/s", ""},
		"cluster":                        {[]string{"-xTp22", "root@server", "-Ax", "id"}, "-xTp22 root@server -Ax", "id"},
		"cluster that ends in an option": {[]string{"-xp", "22", "root@server", "id"}, "-xp 22 root@server", "id"},
		"subsystem":                      {[]string{"-s", "root@server", "sftp"}, "-s root@server sftp", ""},
		"its options":                    {[]string{"root@server", "ls", "-p", "x"}, "root@server", "ls -p x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := sshBefore(t, `for word; do printf '%s\0' "$word"; done`, tc.args...).Output()
			require.NoError(t, err)
			words := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
			assert.Equal(t, []string{"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=/key/known_hosts"}, words[:4])
			ours := strings.Join(words[:20], " ")
			for _, want := range []string{"HostName=203.0.113.10", "BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15"} {
				assert.Contains(t, ours, want)
			}
			words = words[20:]
			if tc.command == "" {
				assert.Equal(t, tc.before, strings.Join(words, " "))
				return
			}
			last := words[len(words)-1]
			assert.Equal(t, tc.before, strings.Join(words[:len(words)-1], " "))
			// On the server a login shell gets the line; here one that tells what it runs.
			shell := filepath.Join(t.TempDir(), "shell")
			require.NoError(t, program.Write(shell, "#!/bin/sh\nprintf '%s|%s|%s' \"$1\" \"$2\" \"${VPS_INSTALL%/*/}\"\n"))
			remote := exec.CommandContext(t.Context(), "/bin/sh", "-c", last)
			remote.Env = append(os.Environ(), "SHELL="+shell)
			said, err := remote.Output()
			require.NoError(t, err)
			assert.Equal(t, "-c|"+tc.command+"|p1/7/alice@laptop", string(said))
		})
	}
}

// Standard input reaches the command, and its exit code comes back.
func TestSSHWrapperIsTransparent(t *testing.T) {
	t.Parallel()
	// What sshd does: the words, put together with blanks, to the login shell.
	cmd := sshBefore(t, `for last; do :; done; exec /bin/sh -c "$last"`, "root@server", "tr a-z A-Z;", "exit", "7")
	cmd.Stdin = strings.NewReader("hello")
	out, err := cmd.Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 7, exit.ExitCode())
	assert.Equal(t, "HELLO", string(out))
}

// A command that says nothing ends with its connection: else a disko whose client
// was killed would wipe the disk under the next install.
func TestSSHWrapperEndsWhatRunsWhenTheConnectionIsGone(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("only Linux has /proc, and servers are Linux")
	}
	dir := t.TempDir()
	pid := filepath.Join(dir, "pid")
	// The session is sshd's: what it started is left when it is killed.
	cmd := sshBefore(t, `for last; do :; done; /bin/sh -c "$last"; exit`, "root@server",
		`echo $$ >`+pid+`.new; mv `+pid+`.new `+pid+`; trap "" TERM HUP; sleep 1000 & wait; sleep 1000`)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { _, err := os.Stat(pid); return err == nil }, 10*time.Second, 10*time.Millisecond)
	text, err := os.ReadFile(pid)
	require.NoError(t, err)

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	process := strings.TrimSpace(string(text))
	assert.Eventually(t, func() bool {
		state, err := os.ReadFile("/proc/" + process + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ")
	}, 20*time.Second, 50*time.Millisecond, "process %s goes on", process)
}

// What a command leaves behind on purpose, as nixos-anywhere does for the reboot,
// goes on when the command has ended.
func TestSSHWrapperLeavesWhatACommandStartedForLater(t *testing.T) {
	t.Parallel()
	done := filepath.Join(t.TempDir(), "done")
	cmd := sshBefore(t, `for last; do :; done; exec /bin/sh -c "$last"`, "root@server",
		`nohup sh -c "sleep 2; touch `+done+`" >/dev/null 2>&1 &`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Run())
	assert.Eventually(t, func() bool { _, err := os.Stat(done); return err == nil }, 20*time.Second, 50*time.Millisecond)
}
