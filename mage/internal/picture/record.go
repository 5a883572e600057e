package picture

import (
	"context"
	"errors"
	"io"
	"os/exec"

	"github.com/creack/pty"
)

// Columns is the width of the terminals that programs are run in.
const Columns = 120

// Record runs a program in a terminal and returns everything that it wrote there.
// A program that fails is no error here: its exit code is returned.
func Record(ctx context.Context, dir string, env []string, argv ...string) (output []byte, exit int, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, env
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: Columns})
	if err != nil {
		return nil, 0, err
	}
	defer terminal.Close()
	// Linux says EIO once the program has closed its end.
	output, _ = io.ReadAll(terminal)
	err = cmd.Wait()
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.Exited() {
		return output, failed.ExitCode(), nil
	}
	return output, 0, err
}
