package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const installerSecret = "AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"

// watchOf watches the stage that announces these steps.
func watchOf(lines ...string) InstallerWatch {
	for _, line := range lines {
		if step, _ := stepOf(line); installerSteps()[step] > InstallerInMemory {
			return InstallerWatch{From: InstallerInMemory, Stage: container.StageSystem}
		}
	}
	return InstallerWatch{From: InstallerPreparing}
}

type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("container ended with exit code %d", int(e)) }
func (e exitCode) ExitCode() int { return int(e) }

func say(w io.Writer, lines ...string) {
	for _, line := range lines {
		_, _ = io.WriteString(w, line+"\n")
	}
}

func TestWatcherEndsAPhaseThatTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		watch := InstallerWatch{From: InstallerInMemory, Stage: container.StageSystem, Deadlines: InstallerDeadlines{InstallerFormatting: time.Minute, InstallerInMemory: -1}}
		ctx, m := watch.Start(t.Context())
		time.Sleep(24 * time.Hour) // no limit
		require.NoError(t, ctx.Err())
		say(m.Stdout(), "### Formatting hard drive with disko ###")
		time.Sleep(59 * time.Second)
		say(m.Stdout(), "still formatting")
		require.NoError(t, ctx.Err())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.ErrorIs(t, ctx.Err(), context.Canceled)

		err := m.Finish(ctx, fmt.Errorf("container was stopped: %w", context.Cause(ctx)))
		require.EqualError(t, err, "installer failed while formatting the disk: not finished with formatting the disk after 1m0s")
		var stuck *InstallerStuckError
		require.ErrorAs(t, err, &stuck)
		assert.Equal(t, InstallerStuckError{Phase: InstallerFormatting, Limit: time.Minute}, *stuck)
		assert.Contains(t, stuck.NextStep().String(), "deadlines: {formatting-the-disk: 2m0s}")
	})
}

func TestWatcherStartsTheClockWithEachPhase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, m := InstallerWatch{}.Start(t.Context())
		time.Sleep(80 * time.Minute)
		say(m.Stdout(), "### Uploading install SSH keys ###")
		time.Sleep(100 * time.Second)
		say(m.Stdout(), "### Gathering machine facts ###")
		time.Sleep(100 * time.Second)
		synctest.Wait()
		require.NoError(t, ctx.Err())
		require.NoError(t, m.Finish(ctx, nil))
		time.Sleep(24 * time.Hour) // a timer that is left would cancel, or hold the bubble
	})
}

func TestWatcherRecognisesEndlessLoops(t *testing.T) {
	t.Parallel()
	const (
		upload = "### Uploading install SSH keys ###"
		denied = "root@server: Permission denied (publickey)."
		other  = "Host key verification failed."
		gone   = "ssh: connect to host 203.0.113.1 port 22: Connection refused"
	)
	for name, tc := range map[string]struct {
		steps, lines []string
		want         InstallerLoop
	}{
		"refused key":                      {[]string{upload}, []string{denied}, InstallerDenied},
		"other host key":                   {[]string{upload}, []string{other}, InstallerOtherHostKey},
		"unreachable":                      {[]string{upload}, []string{gone, gone, gone}, InstallerUnreachable},
		"unreachable once":                 {[]string{upload}, []string{gone, gone}, 0},
		"refused before the first step":    {nil, []string{denied, denied, denied}, 0},
		"restarting into the installer":    {[]string{upload, "### Switching system into kexec ###"}, []string{gone, gone, gone, gone}, 0},
		"installer refuses the key":        {[]string{upload, "### Switching system into kexec ###"}, []string{denied, denied}, InstallerDenied},
		"installer with another host key":  {[]string{upload, "### Switching system into kexec ###"}, []string{other}, InstallerOtherHostKey},
		"rebooting into the new system":    {[]string{"### Rebooting ###"}, []string{denied, other, gone, denied, other, gone}, 0},
		"refused key in the installer":     {[]string{upload, "### Formatting hard drive with disko ###"}, []string{denied, denied}, 0},
		"counted anew in each phase":       {[]string{upload}, []string{gone, gone}, 0},
		"said on standard output":          {[]string{upload, denied, other}, nil, 0},
		"permission denied by another one": {[]string{upload}, []string{"touch: /x: Permission denied"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, m := watchOf(tc.steps...).Start(t.Context())
			say(m.Stdout(), tc.steps...)
			say(m.Stderr(), tc.lines...)
			cause := context.Cause(ctx)
			err := m.Finish(ctx, cause)
			if tc.want == 0 {
				require.NoError(t, cause)
				return
			}
			var stuck *InstallerStuckError
			require.ErrorAs(t, err, &stuck)
			assert.Equal(t, tc.want, stuck.Loop)
			assert.Contains(t, tc.lines, stuck.Line)
			assert.Contains(t, err.Error(), tc.want.String())
		})
	}
}

func TestInstallerErrorsSayWhatFailedAndWhatIsLeft(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		step, stderr string
		err          error
		want, state  string
		hint         string
	}{
		"evaluation": {"", "error: attribute 'x' missing", exitCode(1),
			`installer failed while preparing the installer: "attribute 'x' missing"`, "untouched", "check"},
		"aborted": {"### Gathering machine facts ###", "aborted: the server has no cpio", exitCode(1),
			`installer failed while gathering facts: "the server has no cpio"`, "untouched", "again"},
		"entry script": {"", "vps: the archive of inputs did not arrive whole", exitCode(70),
			`installer failed while preparing the installer: "the archive of inputs did not arrive whole"`, "untouched", ""},
		"disko": {"### Formatting hard drive with disko ###", "", exitCode(7),
			"installer failed while formatting the disk: exit code 7", "erased", "disk.nix"},
		"nixos-install": {"### Installing NixOS ###", "", exitCode(9),
			"installer failed while installing: exit code 9", "age key", "again"},
		"lost connection": {"### Uploading the system closure ###", "", exitCode(255),
			"installer failed while copying the system: the connection to the server was lost", "erased, or half so", "again"},
		"lost connection that ended otherwise": {"### Uploading the system closure ###", "client_loop: send disconnect: Broken pipe\nerror: unexpected end-of-file", exitCode(1),
			"installer failed while copying the system: the connection to the server was lost", "erased, or half so", "again"},
		"download": {"### Switching system into kexec ###\ncurl: (22) The requested URL returned error: 404\nKexec may have failed - check output above", "Kexec failed", exitCode(1),
			`installer failed while starting the installer on the server: "curl: (22) The requested URL returned error: 404"`, "untouched", "again"},
		"Ctrl-C": {"### Rebooting ###", "", context.Canceled,
			"installer failed while rebooting: context canceled", "is complete", "waits for the new system"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, m := watchOf(tc.step).Start(t.Context())
			say(m.Stdout(), tc.step)
			say(m.Stderr(), tc.stderr)
			err := m.Finish(ctx, tc.err)
			require.EqualError(t, err, tc.want)
			require.ErrorIs(t, err, tc.err)
			var failed *InstallerError
			require.ErrorAs(t, err, &failed)
			assert.Contains(t, failed.Phase.Disk(), tc.state)
			assert.Contains(t, failed.NextStep().String(), tc.hint)
		})
	}
}

// What Nix says of a connection that our ssh refused does not tell why.
func TestInstallerErrorNamesAnotherHostKeyInTheMiddle(t *testing.T) {
	t.Parallel()
	ctx, m := InstallerWatch{From: InstallerInMemory, Stage: container.StageSystem}.Start(t.Context())
	say(m.Stdout(), "### Uploading the system closure ###")
	say(m.Stderr(), "Host key verification failed.", "error: failed to start SSH connection to 'server'")
	var failed *InstallerError
	require.ErrorAs(t, m.Finish(ctx, exitCode(1)), &failed)
	assert.Contains(t, failed.Error(), "the server shows another host key, while copying the system")
	assert.Contains(t, failed.NextStep().String(), "find out why")
	assert.Equal(t, 1, failed.Code)
}

func TestWatcherKeepsTheLastTwentyLines(t *testing.T) {
	t.Parallel()
	ctx, m := InstallerWatch{}.Start(t.Context())
	for i := range 50 {
		say(m.Stdout(), fmt.Sprint("line ", i))
	}
	_, _ = io.WriteString(m.Stderr(), "no line end")
	var failed *InstallerError
	require.ErrorAs(t, m.Finish(ctx, exitCode(1)), &failed)
	require.Len(t, failed.Tail, 20)
	assert.Equal(t, "line 31", failed.Tail[0])
	assert.Equal(t, "no line end", failed.Tail[19])
	assert.Equal(t, 1, failed.Code)
}

func TestWatcherHidesSecretsEverywhere(t *testing.T) {
	t.Parallel()
	private := "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nQyNTUxOQAAACDf00AAAAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
	var log bytes.Buffer
	var shown []string
	ctx, m := InstallerWatch{
		Secrets:  []string{"# created: today\n" + installerSecret + "\n", private},
		Log:      &log,
		Progress: func(p InstallerProgress) { shown = append(shown, p.Line) },
	}.Start(t.Context())
	say(m.Stdout(), "key="+installerSecret+";", "\x1b[31m"+installerSecret[:20]+"\x1b[0m"+installerSecret[20:])
	say(m.Stderr(), private, "error: cannot read "+installerSecret)
	_, _ = io.WriteString(m.Stderr(), installerSecret[:10])
	_, _ = io.WriteString(m.Stderr(), installerSecret[10:])
	err := m.Finish(ctx, exitCode(1))
	var failed *InstallerError
	require.ErrorAs(t, err, &failed)
	for _, text := range []string{log.String(), strings.Join(shown, "\n"), strings.Join(failed.Tail, "\n"), err.Error()} {
		assert.Contains(t, text, hidden)
		for _, secret := range []string{installerSecret, "b3BlbnNza", "QyNTUxOQ"} {
			assert.NotContains(t, text, secret)
		}
	}
	assert.Contains(t, log.String(), "-----BEGIN", "what no secret is stays readable")
}

// A line is cut after its secrets are hidden, else a half of one would be left.
func TestWatcherCutsLongLinesBesideSecrets(t *testing.T) {
	t.Parallel()
	for before := installerLineMax - len(installerSecret) - 3; before < installerLineMax+3; before++ {
		var log bytes.Buffer
		ctx, m := InstallerWatch{Secrets: []string{installerSecret}, Log: &log}.Start(t.Context())
		say(m.Stdout(), strings.Repeat("x", before)+installerSecret+strings.Repeat("y", 100000))
		require.NoError(t, m.Finish(ctx, nil))
		require.NotContains(t, log.String(), installerSecret[:6], before)
		require.Less(t, log.Len(), installerLineMax+50)
	}
}

func TestWatcherShowsForeignTextSafely(t *testing.T) {
	t.Parallel()
	r := newRedactor(nil)
	for in, want := range map[string]string{
		"\x1b[1;31mred\x1b[0m":                     "red",
		"\x1b]0;title\atext":                       "text",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
		"a\x1b[2Jb\x07c":                           "abc",
		"tab\there  ":                              "tab here",
		"\u202egnp.exe":                            "gnp.exe",
		"bad \xff utf8":                            "bad \uFFFD utf8",
		"cut \x1b[12":                              "cut ",
		"ü 日本":                                     "ü 日本",
	} {
		assert.Equal(t, strings.TrimRight(want, " "), r.clean([]byte(in)), "%q", in)
	}
}

func TestWatcherReadsCarriageReturnsAsLines(t *testing.T) {
	t.Parallel()
	var lines []string
	ctx, m := InstallerWatch{From: InstallerInMemory, Stage: container.StageSystem, Progress: func(p InstallerProgress) { lines = append(lines, p.Phase.String()+": "+p.Line) }}.Start(t.Context())
	_, _ = io.WriteString(m.Stdout(), "10%\r20%\r\n\r\n### Installing NixOS ###\r\n")
	require.NoError(t, m.Finish(ctx, nil))
	assert.Equal(t, []string{"preparing the disk: 10%", "preparing the disk: 20%", "installing: ### Installing NixOS ###"}, lines)
	assert.Equal(t, InstallerInstalling, m.Phase())
}

type fullDisk struct{ writes int }

func (f *fullDisk) Write([]byte) (int, error) { f.writes++; return 0, errors.New("no space left") }

// A laptop whose disk is full must not end an installation half way.
func TestWatcherGoesOnWithoutALog(t *testing.T) {
	t.Parallel()
	disk := &fullDisk{}
	ctx, m := InstallerWatch{From: InstallerInMemory, Stage: container.StageSystem, Log: disk}.Start(t.Context())
	say(m.Stdout(), "a", "b", "### Installing NixOS ###")
	require.NoError(t, m.Finish(ctx, nil))
	assert.Equal(t, InstallerInstalling, m.Phase())
	assert.EqualError(t, m.LogError(), "no space left")
	assert.Equal(t, 1, disk.writes)
}

// The streams are copied by two goroutines.
func TestWatcherTakesBothStreamsAtOnce(t *testing.T) {
	t.Parallel()
	ctx, m := InstallerWatch{Log: &bytes.Buffer{}, Progress: func(InstallerProgress) {}}.Start(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			say(m.Stderr(), "noise")
		}
	}()
	for range 200 {
		say(m.Stdout(), "### Installing NixOS ###")
		_ = m.Phase()
	}
	<-done
	require.NoError(t, m.Finish(ctx, nil))
}

func FuzzInstallerOutput(f *testing.F) {
	f.Add([]byte("### Uploading install SSH keys ###\n"), []byte("root@server: Permission denied (publickey).\n"))
	f.Add([]byte("### Done! ###\r\n### Rebooting ###\n"), []byte("\x1b]0;x\x1b["+installerSecret+"\xff\n"))
	f.Add([]byte(installerSecret[:9]+"\x1b[m"+installerSecret[9:]), bytes.Repeat([]byte("x"), 5000))
	f.Fuzz(func(t *testing.T, stdout, stderr []byte) {
		var log bytes.Buffer
		last := InstallerPreparing
		ctx, m := InstallerWatch{From: last, Stage: container.Stage(len(stdout) % 2), Secrets: []string{installerSecret}, Log: &log, Progress: func(p InstallerProgress) {
			if p.Phase < last {
				t.Errorf("went back from %s to %s", last, p.Phase)
			}
			last = p.Phase
		}}.Start(t.Context())
		for _, part := range [][]byte{stdout[:len(stdout)/2], stdout[len(stdout)/2:]} {
			_, _ = m.Stdout().Write(part)
			_, _ = m.Stderr().Write(stderr)
		}
		var failed *InstallerError
		if err := m.Finish(ctx, exitCode(1)); !errors.As(err, &failed) || len(failed.Tail) > installerTail {
			t.Errorf("got %v", err)
		}
		for _, text := range append(failed.Tail, log.String()) {
			if strings.Contains(text, installerSecret) {
				t.Error("a secret in the log")
			}
			if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
				t.Errorf("control character in %q", text)
			}
		}
	})
}
