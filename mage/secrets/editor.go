package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/childenv"
	"github.com/dagadbm/vps/mage/internal/next"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
	"mvdan.cc/sh/v3/shell"
)

// editorGrace is how long an editor has to end after it was told to. mage gives
// a target five seconds after Ctrl-C, and the plaintext must be gone by then.
const editorGrace = 2 * time.Second

// quietVim keeps vim from writing what was edited or cut anywhere else than
// into the folder of the file: swap files, viminfo (shada), backups, undo files.
const quietVim = "silent! set viminfo= | silent! set nobackup nowritebackup | silent! set noundofile"

// editor is what is known of a program: how to start it so that no copy of what is
// edited is left anywhere but in the folder of the file, which is removed.
type editor struct {
	names []string                     // of the program, without its path and ending
	args  func(folder string) []string // for this call alone; nil if that cannot be had
}

// editors that are known. Of the others, and of those without args, the command
// says that it cannot promise anything.
var editors = []editor{
	{[]string{"vim", "nvim"}, func(string) []string { return []string{"-n", "-c", quietVim} }},
	{[]string{"vi", "ed", "ex", "sed", "hx", "helix", "kak", "busybox"}, func(string) []string { return nil }},
	// Without its rc files nano makes no backups and keeps no history.
	{[]string{"nano", "rnano", "pico"}, func(string) []string { return []string{"--ignorercfiles"} }},
	{[]string{"emacs", "emacs-nox", "emacs-gtk"}, func(string) []string { return []string{"--eval", quietEmacs} }},
	{[]string{"micro"}, func(string) []string {
		return []string{"-backup", "false", "-permbackup", "false", "-savehistory", "false", "-saveundo", "false"}
	}},
	// The local history and the backups of unsaved files are in the user data.
	{[]string{"code", "code-insiders", "codium", "vscodium", "cursor"}, func(folder string) []string {
		return []string{"--wait", "--new-window", "--disable-extensions", "--user-data-dir", filepath.Join(folder, "editor")}
	}},
	{[]string{"emacsclient"}, nil},
	{[]string{"idea", "goland", "webstorm", "pycharm", "phpstorm", "clion", "rubymine", "rider", "rustrover", "fleet"}, nil},
	{[]string{"subl", "sublime_text", "mate", "zed", "zeditor", "gedit", "kate"}, nil},
}

// quietEmacs keeps emacs from backups, auto-saves and saved undo and kill rings.
const quietEmacs = "(progn (setq make-backup-files nil auto-save-default nil auto-save-list-file-prefix nil create-lockfiles nil" +
	" undo-tree-auto-save-history nil savehist-additional-variables nil) (when (fboundp 'savehist-mode) (savehist-mode -1)))"

// known is what is known of a program; a link, such as vi, is what it leads to.
func known(program string) (editor, bool) {
	name := program
	if found, err := exec.LookPath(program); err == nil {
		name = found
		if target, err := filepath.EvalSymlinks(found); err == nil {
			name = target
		}
	}
	for _, base := range []string{filepath.Base(name), filepath.Base(program)} {
		base, _, _ = strings.Cut(base, ".") // vim.basic, idea.sh
		for _, e := range editors {
			if slices.Contains(e.names, base) {
				return e, true
			}
		}
	}
	return editor{}, false
}

// editorCommand is the person's editor: $SOPS_EDITOR, $VISUAL or $EDITOR, with
// arguments and variables as a shell reads them, or vi. It runs no other command: one
// in $(…) is an error. warning says what it may keep of the plaintext.
func editorCommand(getenv func(string) string, path string) (argv []string, warning string, err error) {
	argv = []string{"vi"}
	for _, name := range []string{"SOPS_EDITOR", "VISUAL", "EDITOR"} {
		value := strings.TrimSpace(getenv(name))
		if value == "" {
			continue
		}
		if argv, err = shell.Fields(value, nil); err != nil || len(argv) == 0 {
			return nil, "", fail(err, next.Words("Quote it as for a shell."), "$%s is %q, which is no command", name, value)
		}
		break
	}
	e, found := known(argv[0])
	switch {
	case !found:
		warning = fmt.Sprintf("whether %s keeps copies of what you edit is unknown: its backups, swap files and history may hold the secrets", filepath.Base(argv[0]))
	case e.args == nil:
		warning = fmt.Sprintf("%s keeps a history or unsaved copies of what you edit elsewhere, which cannot be switched off for one call: they may hold the secrets", filepath.Base(argv[0]))
	default:
		argv = append(argv, e.args(filepath.Dir(path))...)
	}
	return append(argv, path), warning, nil
}

// runEditor runs an editor in the person's terminal until it ends or ctx does.
func runEditor(ctx context.Context, argv []string, stdin io.Reader, stdout, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.Env = childenv.Clean()
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
