package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/childenv"
)

const podman = "podman"

// quick bounds every engine command that has nothing to download or to run.
// Longer than an SSH connection to a remote engine takes, shorter than a
// person's patience with an engine that hangs.
const quick = 20 * time.Second

// Engine is a container engine, used through its own command line program.
// The zero value is docker.
type Engine struct {
	// Program is docker or podman, or the path of one of them.
	Program string
}

func (e Engine) program() string {
	if e.Program == "" {
		return "docker"
	}
	return e.Program
}

// engineName is the program without the folder it is in.
func engineName(program string) string { return filepath.Base(program) }

func (e Engine) isPodman() bool { return engineName(e.Program) == podman }

// Ping asks whether the engine answers. The error is an *EngineError when the
// program is not installed, finds no engine or is not allowed to use it.
func (e Engine) Ping(ctx context.Context) error {
	_, err := e.output(ctx, e.pingArgs()...)
	if err == nil {
		return nil
	}
	var failed *CommandError
	if errors.As(err, &failed) {
		if problem := classify(failed.Stderr); problem != 0 {
			return e.problem(problem, failed.Stderr)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return e.problem(NotRunning, fmt.Sprintf("no answer within %s", quick))
	}
	return err
}

func (e Engine) pingArgs() []string {
	if e.isPodman() { // podman may have no server at all
		return []string{"info", "--format", "{{.Version.Version}}"}
	}
	return []string{"version", "--format", "{{.Server.Version}}"}
}

func (e Engine) problem(problem Problem, detail string) *EngineError {
	return &EngineError{Program: e.program(), Problem: problem, Detail: detail, GOOS: runtime.GOOS}
}

// output runs a short engine command and returns what it wrote, without the
// spaces around it.
func (e Engine) output(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, e.program(), args...)
	cmd.Env = childenv.Clean()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", e.commandError(ctx, err, args[0], stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// commandError turns a failure to run the engine's program into one of the
// package's types. Why the context ended comes first: that the program was
// killed then is only a consequence.
func (e Engine) commandError(ctx context.Context, err error, verb, stderr string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", engineName(e.program()), verb, context.Cause(ctx))
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, exec.ErrDot) {
		return e.problem(NotInstalled, "")
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &CommandError{Program: e.program(), Verb: verb, Code: exit.ExitCode(), Stderr: lastLine(stderr)}
	}
	var path *fs.PathError // the program was given as a path
	if errors.As(err, &path) {
		return e.problem(NotInstalled, path.Err.Error())
	}
	return fmt.Errorf("%s %s: %w", engineName(e.program()), verb, err)
}
