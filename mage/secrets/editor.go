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

	"github.com/dagadbm/vps/mage/internal/next"
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
			return nil, fail(err, next.Words("Quote it as for a shell."), "$%s is %q, which is no command", name, value)
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
		return fail(err, next.Words("Set EDITOR to an editor that is installed."), "starting the editor")
	}
	if err != nil {
		return fail(err, next.Words("Nothing was changed; set EDITOR to another editor if this one does not work."), "the editor %q failed", argv[0])
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

const plainPrefix = "vps-secrets-"

// plainDir is a folder of mode 0700 for plaintext. It is locked while its owner
// lives, so that the next run knows which ones a kill left behind.
type plainDir struct {
	path string
	lock *os.File
}

// plainBases are the places for plaintext, best first: memory before disk.
func plainBases(getenv func(string) string) []string {
	var out []string
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && inMemory(dir) {
		out = append(out, dir)
	}
	if inMemory("/dev/shm") {
		out = append(out, "/dev/shm")
	}
	return append(out, os.TempDir())
}

// newPlainDir makes a folder in the first base that takes one.
func newPlainDir(bases []string) (*plainDir, error) {
	var faults []error
	for _, base := range bases {
		dir, err := newPlainDirIn(base)
		if err == nil {
			return dir, nil
		}
		faults = append(faults, err)
	}
	return nil, fail(errors.Join(faults...), next.Words("Make room in one of them, or point TMPDIR at a private folder."), "making a private folder for the plaintext")
}

func newPlainDirIn(base string) (*plainDir, error) {
	for range 10 {
		path, err := os.MkdirTemp(base, plainPrefix)
		if err != nil {
			return nil, err
		}
		lock, err := lockPlain(path)
		if err == nil {
			return &plainDir{path, lock}, nil
		}
		_ = os.Remove(path) // a sweep took it in the moment before the lock
	}
	return nil, fmt.Errorf("cannot lock a folder in %q", base)
}

// lockPlain locks a folder that is ours and still there. The lock ends with the
// process, however that ends; an editor does not inherit it.
func lockPlain(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), path)
	if err := lockOwn(dir, path); err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

func lockOwn(dir *os.File, path string) error {
	var opened, named unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &opened); err != nil {
		return err
	}
	if int(opened.Uid) != os.Getuid() {
		return fmt.Errorf("%q belongs to somebody else", path)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := unix.Lstat(path, &named); err != nil || named.Ino != opened.Ino || named.Dev != opened.Dev {
		return fmt.Errorf("%q is gone", path)
	}
	return nil
}

// remove removes the folder and all that an editor put beside the file.
func (d *plainDir) remove() error {
	err := os.RemoveAll(d.path)
	d.lock.Close()
	if err != nil {
		return fail(err, next.Say("Remove %s by hand: it holds your secrets in plain text.", d.path), "removing the plaintext")
	}
	return nil
}

// sweep removes folders whose owner was killed and returns how many.
func sweep(bases []string) int {
	count := 0
	for _, base := range bases {
		found, _ := filepath.Glob(filepath.Join(base, plainPrefix+"*")) // only a bad pattern is an error
		for _, path := range found {
			lock, err := lockPlain(path)
			if err != nil {
				continue // alive, or not ours
			}
			if (&plainDir{path, lock}).remove() == nil {
				count++
			}
		}
	}
	return count
}
