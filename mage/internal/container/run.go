package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/childenv"
)

const (
	// stopGrace is what a container gets between SIGTERM and SIGKILL. Mage
	// leaves five seconds after Ctrl-C; stopping and removing share them.
	stopGrace = 2 * time.Second
	// clientGrace is what the engine's program gets to notice that its
	// container is gone.
	clientGrace = time.Second
	// removeTime bounds the removal after a run.
	removeTime = 10 * time.Second
	// engineFailed is the exit code by which docker run and podman run say that
	// they, not the container's program, failed.
	engineFailed = 125
)

// Run runs a container to its end and removes it. Its output goes to stdout
// and stderr, which may be the same writer; its input is spec.Stdin and then
// stays open.
//
// When ctx ends, the container is told to stop (SIGTERM), killed two seconds
// later, and the error wraps the cause of ctx. An *ExitError is a program that
// failed, a *CommandError an engine that could not start it, a *LeftoverError
// (joined to the first error) a container that is still there.
func (e Engine) Run(ctx context.Context, spec RunSpec, stdout, stderr io.Writer) error {
	if err := spec.validate(); err != nil {
		return err
	}
	said := &tail{}
	cmd := exec.CommandContext(ctx, e.program(), e.runArgs(spec)...)
	cmd.Env = childenv.Clean()
	cmd.Stdout, cmd.Stderr = oneAtATime(stdout, io.MultiWriter(stderr, said))
	cmd.SysProcAttr = ownProcessGroup()
	cmd.WaitDelay = clientGrace
	cmd.Cancel = func() error { return e.cancel(ctx, spec.Name, cmd.Process) }

	err := e.runError(ctx, spec, runHoldingStdin(cmd, spec.Stdin), said.String())
	if cmd.Process == nil || nameTaken(err) {
		return err // no container, or one that is somebody else's
	}
	return errors.Join(err, e.cleanUp(ctx, spec.Name))
}

// runHoldingStdin runs cmd with input, and keeps its standard input open until
// it has ended.
func runHoldingStdin(cmd *exec.Cmd, input io.Reader) error {
	if input == nil {
		input = strings.NewReader("")
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		// A failed write means that the program has ended; Wait says why.
		_, _ = io.Copy(stdin, input)
	}()
	err = cmd.Wait() // closes stdin
	<-fed
	return err
}

// cancel stops the container, then tells the client. A client that is about to
// create it is given the time: killed in that moment, it would leave a container
// that is created and never started, which nobody removes.
func (e Engine) cancel(ctx context.Context, name string, client *os.Process) error {
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), stopGrace+clientGrace)
	defer done()
	stopErr := e.stop(ctx, name, stopGrace)
	for missing(stopErr) && alive(client) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
			stopErr = e.stop(ctx, name, stopGrace)
		}
	}
	if missing(stopErr) {
		stopErr = nil
	}
	if err := terminate(client); err != nil {
		return err // os.ErrProcessDone: it noticed by itself
	}
	return stopErr
}

// cleanUp makes sure that the container is gone, also when ctx has ended.
func (e Engine) cleanUp(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	return e.remove(ctx, name)
}

// runError says in the package's types how a run ended.
func (e Engine) runError(ctx context.Context, spec RunSpec, err error, stderr string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("container %q was stopped: %w", spec.Name, context.Cause(ctx))
	}
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != engineFailed {
		return &ExitError{Container: spec.Name, Code: exit.ExitCode()}
	}
	return e.commandError(ctx, err, "run", stderr)
}

func nameTaken(err error) bool {
	var failed *CommandError
	return errors.As(err, &failed) && containsAny(failed.Stderr, "is already in use")
}
