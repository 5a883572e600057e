package container

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entry runs the entry script outside a container, with another folder as /.
type entry struct {
	t     *testing.T
	root  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   bytes.Buffer
	err   bytes.Buffer
}

func startEntry(t *testing.T, archive []byte, size int, words ...string) *entry {
	t.Helper()
	e := &entry{t: t, root: t.TempDir()}
	require.NoError(t, os.MkdirAll(filepath.Join(e.root, "tmp"), 0o755))
	args := []string{"-c", entryScript, "entry", e.root, strconv.Itoa(size), "1"}
	for _, word := range words {
		args = append(args, strings.ReplaceAll(word, "@root@", e.root))
	}
	e.cmd = exec.CommandContext(t.Context(), "/bin/sh", args...)
	e.cmd.Env = append(os.Environ(), "ROOT="+e.root)
	e.cmd.Stdout, e.cmd.Stderr = &e.out, &e.err
	e.cmd.WaitDelay = 10 * time.Second
	var err error
	e.stdin, err = e.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, e.cmd.Start())
	_, err = e.stdin.Write(archive)
	require.NoError(t, err)
	return e
}

// code waits for the end. Standard input is closed only then: who reads to its
// end before would wait for ever.
func (e *entry) code() int {
	e.t.Helper()
	state, err := e.cmd.Process.Wait()
	require.NoError(e.t, err)
	_ = e.stdin.Close()
	_ = e.cmd.Wait()
	return state.ExitCode()
}

func (e *entry) waitFor(file string) {
	e.t.Helper()
	require.Eventually(e.t, func() bool {
		_, err := os.Stat(filepath.Join(e.root, file))
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
}

func entryArchive(t *testing.T, members ...member) []byte {
	t.Helper()
	archive, err := writeArchive(append(members, folder("tmp/vps", 0o700)))
	require.NoError(t, err)
	return archive
}

func TestEntryUnpacksAndPassesTheExitCodeOn(t *testing.T) {
	t.Parallel()
	archive := entryArchive(t, folder("work", 0o700), file("work/a b", 0o644, []byte("content\n")))
	e := startEntry(t, archive, len(archive), "run", "sh", "-c", `cat "$ROOT/work/a b"; exit 9`)
	assert.Equal(t, 9, e.code())
	assert.Equal(t, "content\n", e.out.String())
	info, err := os.Stat(filepath.Join(e.root, "work"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(e.root, "work/a b"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode().Perm(), "the script's umask must not count")
}

func TestEntryGivesTheProgramNoInput(t *testing.T) {
	t.Parallel()
	archive := entryArchive(t)
	e := startEntry(t, append(archive, "not for the program"...), len(archive), "run", "cat")
	assert.Equal(t, 0, e.code())
	assert.Empty(t, e.out.String())
}

func TestEntryEndsTheProgramWithItsInput(t *testing.T) {
	t.Parallel()
	archive := entryArchive(t)
	e := startEntry(t, archive, len(archive), "run", "sh", "-c",
		`trap 'echo ended; exit 143' TERM; : >"$ROOT/ready"; while :; do sleep 0.02; done`)
	e.waitFor("ready")
	require.NoError(t, e.stdin.Close())
	assert.Equal(t, 143, e.code())
	assert.Equal(t, "ended\n", e.out.String())
	assert.Contains(t, e.err.String(), "the client went away")
}

func TestEntryKillsAProgramThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	archive := entryArchive(t)
	e := startEntry(t, archive, len(archive), "run", "sh", "-c",
		`trap '' TERM; : >"$ROOT/ready"; while :; do sleep 0.02; done`)
	e.waitFor("ready")
	require.NoError(t, e.stdin.Close())
	assert.Equal(t, 137, e.code())
}

func TestEntryPassesSIGTERMOnAndWaits(t *testing.T) {
	t.Parallel()
	archive := entryArchive(t)
	e := startEntry(t, archive, len(archive), "run", "sh", "-c",
		`trap 'sleep 0.1; echo cleaned; exit 5' TERM; : >"$ROOT/ready"; while :; do sleep 0.02; done`)
	e.waitFor("ready")
	require.NoError(t, terminate(e.cmd.Process))
	assert.Equal(t, 5, e.code(), "the program's own code, not the signal's")
	assert.Equal(t, "cleaned\n", e.out.String())
}

// Cut between two members, tar itself sees nothing wrong.
func TestEntryRefusesACutArchive(t *testing.T) {
	t.Parallel()
	archive := entryArchive(t, folder("work", 0o700), file("work/a", 0o644, []byte("a")))
	for _, length := range []int{0, 100, 512, 512 * 3, len(archive) - 1024 - 512} {
		t.Run(strconv.Itoa(length), func(t *testing.T) {
			t.Parallel()
			e := startEntry(t, archive[:length], len(archive), "run", "touch", "should-not-run")
			require.NoError(t, e.stdin.Close())
			assert.Equal(t, 70, e.code())
			assert.Contains(t, e.err.String(), "did not arrive whole")
		})
	}
}

func TestEntryPrintsAFileAfterSuccessOnly(t *testing.T) {
	t.Parallel()
	archive := entryArchive(t, folder("work", 0o700), file("work/lock", 0o644, []byte("{}\n")))
	for code, printed := range map[int]string{0: "{}\n", 4: ""} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			e := startEntry(t, archive, len(archive), "print", "@root@/work/lock",
				"run", "sh", "-c", "echo story; exit "+strconv.Itoa(code))
			assert.Equal(t, code, e.code())
			assert.Equal(t, "story\n", e.err.String())
			assert.Equal(t, printed, e.out.String())
		})
	}
}

func TestEntryRefusesAnUnknownWord(t *testing.T) {
	t.Parallel()
	archive := entryArchive(t)
	e := startEntry(t, archive, len(archive), "wipe", "run", "true")
	assert.Equal(t, 70, e.code())
}

func TestEntryGivesTheVerifiedKexecImageToTheProgram(t *testing.T) {
	t.Parallel()
	nix := file("tmp/vps/nix", 0o700, []byte(`#!/bin/sh
echo "$*" >"$ROOT/nix-args"
[ "${6#*bad}" = "$6" ] || exit 102
echo '{"hash":"sha256-x","storePath":"/nix/store/abc-kexec.tar.gz"}'
`))
	archive, err := writeArchive([]member{folder("tmp/vps", 0o700), nix})
	require.NoError(t, err)
	e := startEntry(t, archive, len(archive),
		"kexec", "https://example.org/k.tar.gz", "sha256-abc=", "kexec.tar.gz", "run", "echo", "installer", "two words")
	require.Equal(t, 0, e.code(), e.err.String())
	assert.Equal(t, "vps: downloading the kexec image\ninstaller two words --kexec /nix/store/abc-kexec.tar.gz\n", e.out.String())
	args, err := os.ReadFile(filepath.Join(e.root, "nix-args"))
	require.NoError(t, err)
	assert.Equal(t, "--extra-experimental-features nix-command flakes store prefetch-file "+
		"--name kexec.tar.gz --json --expected-hash sha256-abc= https://example.org/k.tar.gz\n", string(args))
}

func TestEntryStopsAtAKexecImageWithAnotherHash(t *testing.T) {
	t.Parallel()
	archive, err := writeArchive([]member{folder("tmp/vps", 0o700), file("tmp/vps/nix", 0o700, []byte("#!/bin/sh\nexit 102\n"))})
	require.NoError(t, err)
	e := startEntry(t, archive, len(archive), "kexec", "https://example.org/k", "sha256-abc=", "kexec.tar.gz", "run", "echo", "installer")
	assert.Equal(t, 70, e.code())
	assert.NotContains(t, e.out.String(), "installer")
}

// OpenSSH counts the first value of an option, so ours must come first, from
// whatever program ssh is started, and however PATH has been prefixed.
func TestSSHWrapperComesFirstWithItsOptions(t *testing.T) {
	t.Parallel()
	real := t.TempDir()
	require.NoError(t, program.Write(filepath.Join(real, "ssh"), "#!/bin/sh\nfor a; do echo \"$a\"; done\n"))
	in := minimalInstall()
	in.Address = "2001:db8::1"
	archive, err := in.Archive(payload())
	require.NoError(t, err)
	e := startEntry(t, archive, len(archive), "run", "sh", "-c",
		`PATH="/nonexistent:${PATH%%:*}:`+real+`:$PATH"; ssh -o StrictHostKeyChecking=no 'root@a  b'`)
	require.Equal(t, 0, e.code(), e.err.String())
	assert.Equal(t, []string{
		"-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile=/key/known_hosts",
		"-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "UpdateHostKeys=no",
		"-o", "HostKeyAlias=server",
		"-o", "HostName=2001:db8::1",
		"-o", "BatchMode=yes",
		"-o", "ConnectTimeout=15",
		"-o", "ServerAliveInterval=15",
		"-o", "ServerAliveCountMax=4",
		"-o", "StrictHostKeyChecking=no", "root@a  b",
	}, strings.Split(strings.TrimSuffix(e.out.String(), "\n"), "\n"))
}

func TestScriptsPassShellcheck(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed")
	}
	for _, script := range []string{"entry.sh", "ssh.sh"} {
		out, err := exec.CommandContext(context.Background(), program, "--shell=sh", script).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}
