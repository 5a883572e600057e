package secrets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/require"
)

// TestHelperProcess is not a test but the process that others interrupt: it
// edits or sets in the project that its environment names, and stops where it
// is told to.
func TestHelperProcess(t *testing.T) {
	work := os.Getenv("SECRETS_HELPER")
	if work == "" {
		t.Skip("started by other tests only")
	}
	err := help(work, os.Getenv("SECRETS_PROJECT"), os.Getenv("SECRETS_BASE"), os.Getenv("SECRETS_PHASE"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err, next.Of(err).String())
		os.Exit(1)
	}
	os.Exit(0)
}

func help(work, dir, base, phase string) error {
	ids, err := LoadIdentities(context.Background(), dir, nil)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	if work == "set" {
		_, err := Set(blocking{context.Background()}, dir, ids, "gateway-token", "hunter 9")
		return err
	}
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	_, err = Edit(context.Background(), dir, ids, EditOptions{
		Console: lineConsole{}, Declared: declare("gateway-token"), bases: []string{base},
		at: func(reached string) {
			if reached == phase {
				fmt.Println("reached")
				select {
				case <-signals:
				case <-time.After(time.Minute):
				}
			}
		},
	})
	return err
}

// blocking stops its process where a write asks for the last time whether to go
// on: the new file is complete beside the old one.
type blocking struct{ context.Context }

func (blocking) Err() error {
	fmt.Println("reached")
	time.Sleep(time.Minute)
	return errors.New("nobody killed this process")
}

// lineConsole is a terminal.
type lineConsole struct{}

func (lineConsole) Interactive() bool              { return true }
func (lineConsole) Say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\r\n", args...) }

func (c lineConsole) Ask(_ context.Context, question string) (string, error) {
	fmt.Fprint(os.Stderr, question)
	var line []byte
	for {
		var b [1]byte
		if _, err := os.Stdin.Read(b[:]); err != nil {
			return "", io.EOF
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
}

func (c lineConsole) AskHidden(ctx context.Context, question string) (string, error) {
	return c.Ask(ctx, question)
}

// helper is a helper process before it is started.
func helper(t *testing.T, work string, project Project, base, phase, editor string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program, "-test.run=^TestHelperProcess$")
	cmd.Env = []string{
		"SECRETS_HELPER=" + work, "SECRETS_PROJECT=" + project.Dir, "SECRETS_BASE=" + base, "SECRETS_PHASE=" + phase,
		"SOPS_EDITOR=" + editor, "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TERM=xterm", "TMPDIR=" + t.TempDir(),
	}
	return cmd
}

// startHelper starts it and waits until it has reached the phase.
func startHelper(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "reached" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return
		}
	}
	require.Fail(t, "the helper ended before it reached its phase")
}
