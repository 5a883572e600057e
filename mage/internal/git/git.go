// Package git asks git about the repository around a folder. It is the one place
// of this project that starts git.
//
// A repository is foreign input: it may have come in an archive, or lie in a
// folder that others write to, and its configuration names programs that git
// would run and settings that would change what git says. So every question is
// asked with hooks, the file system monitor, filters, external diff and textconv
// programs, replaced objects and fetching switched off. Variables that point git
// at another repository, index or configuration (a hook has them) are removed,
// and so are those that hold an age key.
//
// A person's own configuration counts: it says what is ignored everywhere, and
// which folders of other users are trusted.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagadbm/vps/mage/internal/childenv"
	"github.com/dagadbm/vps/mage/internal/next"
)

// ErrNoRepository means that the folder is in no work tree, ErrNoGit that there
// is no git to ask.
var (
	ErrNoRepository = errors.New("not a git repository")
	ErrNoGit        = errors.New("git is not installed")
)

// Absent reports whether err says that there is nothing to ask: no repository,
// or no git.
func Absent(err error) bool {
	return errors.Is(err, ErrNoRepository) || errors.Is(err, ErrNoGit)
}

// Error is a question that git did not answer.
type Error struct {
	Question string // the subcommand
	Dir      string
	Stderr   string
	Err      error
}

func (e *Error) Error() string {
	said := firstLine(e.Stderr)
	if said == "" {
		said = e.Err.Error()
	}
	return fmt.Sprintf("git %s in %q: %s", e.Question, e.Dir, said)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// NextStep names the command that git itself proposes for a repository of another
// user, the one failure that is common (sudo, containers, shared folders).
func (e *Error) NextStep() next.Step {
	if strings.Contains(e.Stderr, "dubious ownership") {
		return next.Say("the repository belongs to another user: become that user, or trust its folder with: %s",
			next.Shell("git", "config", "--global", "--add", "safe.directory", e.owned()))
	}
	return next.Say("make %s work, then try again", next.Shell("git", "-C", e.Dir, "status"))
}

var ownedAt = regexp.MustCompile(`repository at '([^'\n]+)'`)

// owned is the folder that git names as another user's.
func (e *Error) owned() string {
	if m := ownedAt.FindStringSubmatch(e.Stderr); m != nil {
		return m[1]
	}
	return e.Dir
}

// Repo is the repository around a folder. It may be used by several goroutines.
type Repo struct {
	dir     string
	filters func(context.Context) ([]string, error)
}

// In is the repository around dir.
func In(dir string) *Repo {
	r := &Repo{dir: dir}
	var mu sync.Mutex
	var known []string
	var found bool
	r.filters = func(ctx context.Context) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		var err error
		if !found {
			known, err = r.noFilters(ctx)
			found = err == nil
		}
		return known, err
	}
	return r
}

// maxOutput in bytes is far beyond any answer that is asked for here.
const maxOutput = 256 << 20

// Output asks a question and gives what git wrote to stdout and stderr.
func (r *Repo) Output(ctx context.Context, args ...string) (stdout []byte, stderr string, err error) {
	return r.OutputWith(ctx, nil, args...)
}

// OutputWith is Output with settings that win over every other configuration.
func (r *Repo) OutputWith(ctx context.Context, settings []string, args ...string) (stdout []byte, stderr string, err error) {
	cmd, complaints, err := r.command(ctx, settings, args)
	if err != nil {
		return nil, "", err
	}
	out := &capped{left: maxOutput}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return nil, "", r.failure(ctx, args[0], complaints.String(), err)
	}
	return out.Bytes(), complaints.String(), nil
}

// Ask puts a question that git answers with exit status 0 or 1.
func (r *Repo) Ask(ctx context.Context, args ...string) (bool, error) {
	_, _, err := r.Output(ctx, args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// command builds the call of git for one question.
func (r *Repo) command(ctx context.Context, extra, args []string) (*exec.Cmd, *capped, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, nil, ErrNoGit
	}
	if !r.anywhere() {
		return nil, nil, ErrNoRepository
	}
	settings := slices.Concat(safeSettings, extra)
	if readsWorkTree(args[0]) {
		filters, err := r.filters(ctx)
		if err != nil {
			return nil, nil, err
		}
		settings = append(settings, filters...)
	}
	return r.plain(ctx, settings, args)
}

// anywhere reports whether the folder or one above it has a .git. Without one git
// finds no work tree either, and need not be started to say so.
func (r *Repo) anywhere() bool {
	dir, err := filepath.Abs(r.dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return true // git says what is wrong with it
	}
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return true
		}
		above := filepath.Dir(dir)
		if above == dir {
			return false
		}
		dir = above
	}
}

func (r *Repo) plain(ctx context.Context, settings, args []string) (*exec.Cmd, *capped, error) {
	cmd := exec.CommandContext(ctx, "git", arguments(r.dir, settings, args)...)
	cmd.Env = Environment(os.Environ())
	complaints := &capped{left: 1 << 20}
	cmd.Stderr = complaints
	cmd.WaitDelay = time.Second
	return cmd, complaints, nil
}

// safeSettings keep git from starting programs that a repository's configuration
// names, and from saying something else because of it.
var safeSettings = []string{
	"core.fsmonitor=false",
	"core.hooksPath=/dev/null",
	"core.attributesFile=/dev/null",
	"core.sshCommand=false",
	"core.askPass=",
	"credential.helper=",
	"protocol.allow=never",
	"diff.external=",
	"gc.auto=0",
	"maintenance.auto=false",
	"advice.graftFileDeprecated=false",
	"color.ui=false",
	"log.showRoot=true",
	"log.showSignature=false",
	"submodule.recurse=false",
}

func arguments(dir string, settings, args []string) []string {
	out := []string{"-C", dir, "--no-pager", "--no-optional-locks", "--no-replace-objects"}
	for _, setting := range settings {
		out = append(out, "-c", setting)
	}
	return append(out, args...)
}

// keptVariables are the ones of git that name a person's own configuration, or
// where to stop looking for a repository.
var keptVariables = []string{
	"GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
	"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM",
}

// Environment is environ without the variables that would change which repository is asked or
// what it answers. Messages are asked for in English, because some are looked at.
func Environment(environ []string) []string {
	kept := slices.DeleteFunc(childenv.Without(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		if name == "LANGUAGE" || name == "LC_ALL" {
			return true
		}
		return strings.HasPrefix(name, "GIT_") && !slices.Contains(keptVariables, name)
	})
	return append(kept, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "GIT_GRAFT_FILE=/dev/null")
}

// readsWorkTree names the questions for which git reads files of the work tree,
// and would run filter programs on them.
func readsWorkTree(question string) bool {
	return slices.Contains([]string{"status", "diff", "diff-files", "diff-index"}, question)
}

// noFilters are settings that switch off every filter program that is configured.
func (r *Repo) noFilters(ctx context.Context) ([]string, error) {
	cmd, complaints, err := r.plain(ctx, safeSettings, []string{"config", "--null", "--name-only", "--get-regexp", `^filter\.`})
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil, nil // none
	}
	if err != nil {
		return nil, r.failure(ctx, "config", complaints.String(), err)
	}
	var settings []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if at := strings.LastIndexByte(name, '.'); at > 0 {
			filter := name[:at]
			settings = append(settings, filter+".clean=", filter+".smudge=", filter+".process=", filter+".required=false")
		}
	}
	slices.Sort(settings)
	return slices.Compact(settings), nil
}

func (r *Repo) failure(ctx context.Context, question, stderr string, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	// A broken repository says "not a git repository: <its folder>" instead.
	case strings.Contains(stderr, "not a git repository (or any"),
		strings.Contains(stderr, "must be run in a work tree"):
		return ErrNoRepository
	// On a Mac without the developer tools, git is a program that offers them.
	case strings.Contains(stderr, "xcode-select"):
		return ErrNoGit
	}
	return &Error{Question: question, Dir: r.dir, Stderr: stderr, Err: err}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimPrefix(line, "fatal: ")
}

// capped holds so many bytes and fails beyond them.
type capped struct {
	bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, errors.New("git answers more than is held in memory")
	}
	return c.Buffer.Write(p)
}
