package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/bitfield/script"
)

// errNoRepository means that git is here and the folder is in no repository;
// errNoGit that there is no git to ask.
var (
	errNoRepository = errors.New("not a git repository")
	errNoGit        = errors.New("git is not installed")
)

// gitError is a question that git did not answer.
type gitError struct {
	question string
	dir      string
	stderr   string
	err      error
}

func (e *gitError) Error() string {
	said := firstLine(e.stderr)
	if said == "" {
		said = e.err.Error()
	}
	return fmt.Sprintf("git %s in %q: %s", e.question, e.dir, said)
}

func (e *gitError) Unwrap() error { return e.err }

// Hint names the command that git itself proposes for a repository of another
// user, the one failure that is common (sudo, containers, shared folders).
func (e *gitError) Hint() string {
	if strings.Contains(e.stderr, "dubious ownership") {
		return "the repository belongs to another user: become that user, or trust it with " +
			"`git config --global --add safe.directory <folder of the repository>`"
	}
	return fmt.Sprintf("make `git -C %s status` work, then try again", e.dir)
}

// queryGit answers one short question about the repository around dir.
func queryGit(ctx context.Context, dir string, args ...string) (stdout, stderr string, err error) {
	if _, err := exec.LookPath("git"); err != nil {
		return "", "", errNoGit
	}
	var complaints bytes.Buffer
	stdout, err = script.NewPipe().
		WithContext(ctx).
		WithEnv(gitEnv(os.Environ())).
		WithStderr(&complaints).
		ExecCommand("git", gitArgs(dir, args)...).
		String()
	if ctx.Err() != nil {
		return "", "", ctx.Err()
	}
	if err != nil {
		return "", "", gitFailure(dir, args[0], complaints.String(), err)
	}
	return stdout, complaints.String(), nil
}

// gitArgs turns off what would write to the repository, or start a program of
// the user's configuration.
func gitArgs(dir string, args []string) []string {
	return append([]string{"-C", dir, "--no-optional-locks", "-c", "core.fsmonitor=false"}, args...)
}

// gitEnv drops the variables that point git at some other repository or index:
// a hook, for one, runs with GIT_DIR and GIT_INDEX_FILE set. Messages are asked
// for in English, because one of them is looked at.
func gitEnv(environ []string) []string {
	kept := slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "LANGUAGE", name == "LC_ALL":
			return true
		case strings.HasPrefix(name, "GIT_CONFIG_"):
			return name == "GIT_CONFIG_PARAMETERS"
		}
		return strings.HasPrefix(name, "GIT_") && name != "GIT_EXEC_PATH" && name != "GIT_CEILING_DIRECTORIES"
	})
	return append(kept, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1")
}

func gitFailure(dir, question, stderr string, err error) error {
	switch {
	// A broken repository says "not a git repository: <its folder>" instead.
	case strings.Contains(stderr, "not a git repository (or any"),
		strings.Contains(stderr, "must be run in a work tree"):
		return errNoRepository
	// On a Mac without the developer tools, git is a program that offers them.
	case strings.Contains(stderr, "xcode-select"):
		return errNoGit
	}
	return &gitError{question: question, dir: dir, stderr: stderr, err: err}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimPrefix(line, "fatal: ")
}
