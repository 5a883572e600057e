package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/shlex"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// editorGrace is how long an editor has to end after it was told to. mage gives
// a target five seconds after Ctrl-C, and the plaintext must be gone by then.
const editorGrace = 2 * time.Second

// quietVim keeps vim from writing what was edited or cut anywhere else than
// into the folder of the file: swap files, viminfo (shada), backups, undo files.
const quietVim = "silent! set viminfo= | silent! set nobackup nowritebackup | silent! set noundofile"

// editorCommand is the person's editor: $SOPS_EDITOR, $VISUAL or $EDITOR, with
// arguments, or vi.
func editorCommand(getenv func(string) string, path string) ([]string, error) {
	for _, name := range []string{"SOPS_EDITOR", "VISUAL", "EDITOR"} {
		value := strings.TrimSpace(getenv(name))
		if value == "" {
			continue
		}
		argv, err := shlex.Split(value)
		if err != nil || len(argv) == 0 {
			return nil, fail(err, "Quote it as for a shell.", "$%s is %q, which is no command", name, value)
		}
		return append(append(argv, vimArguments(argv[0])...), path), nil
	}
	return append(append([]string{"vi"}, vimArguments("vi")...), path), nil
}

// vimArguments are nothing for any other editor, and for a vi that is not vim.
func vimArguments(program string) []string {
	found, err := exec.LookPath(program)
	if err != nil {
		return nil
	}
	if target, err := filepath.EvalSymlinks(found); err == nil {
		found = target
	}
	name := filepath.Base(found)
	if !strings.HasPrefix(name, "vim") && !strings.HasPrefix(name, "nvim") {
		return nil
	}
	return []string{"-n", "-c", quietVim}
}

// editorEnvironment is ours without anything that holds or leads to a key: an
// editor runs plugins.
func editorEnvironment(environ []string) []string {
	out := make([]string, 0, len(environ))
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "SOPS_AGE_") {
			out = append(out, entry)
		}
	}
	return out
}

// runEditor runs an editor in the person's terminal until it ends or ctx does.
func runEditor(ctx context.Context, argv []string, stdin io.Reader, stdout, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.Env = editorEnvironment(os.Environ())
	cmd.Dir = filepath.Dir(argv[len(argv)-1])
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = editorGrace
	defer keepTerminal(stdin)()
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fail(err, "Set EDITOR to an editor that is installed.", "starting the editor")
	}
	if err != nil {
		return fail(err, "Nothing was changed; set EDITOR to another editor if this one does not work.", "the editor %q failed", argv[0])
	}
	return nil
}

// keepTerminal returns what brings the terminal back into its present state,
// in case the editor cannot.
func keepTerminal(stdin io.Reader) func() {
	file, ok := stdin.(*os.File)
	if !ok {
		return func() {}
	}
	state, err := term.GetState(int(file.Fd()))
	if err != nil {
		return func() {}
	}
	return func() { _ = term.Restore(int(file.Fd()), state) }
}

// editorNote is what to think of an editor that changed nothing.
func editorNote(argv []string) string {
	return fmt.Sprintf("nothing changed; if %s returned before you were done, it needs an option to wait (code --wait)", filepath.Base(argv[0]))
}
