package container

import (
	"fmt"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Problem is a reason for which an engine cannot be used at all.
type Problem int

const (
	// NotInstalled means that the engine's program is not in PATH.
	NotInstalled Problem = iota + 1
	// NotRunning means that the program found nobody to talk to.
	NotRunning
	// PermissionDenied means that this user may not talk to the engine.
	PermissionDenied
	// OtherMachine means that the engine's containers run on another machine,
	// where nothing of this one can be reached.
	OtherMachine
)

// EngineError says why an engine cannot be used.
type EngineError struct {
	Program string  // as configured: docker, podman or a path
	Problem Problem // what is wrong
	Detail  string  // what the program itself said, one line; may be empty
	GOOS    string  // the laptop's system; decides the remedy
}

// Error says what failed, in one line.
func (e *EngineError) Error() string {
	what := map[Problem]string{
		NotInstalled:     "is not installed",
		NotRunning:       "is installed, but its engine does not answer",
		PermissionDenied: "may not be used by this user",
		OtherMachine:     "runs its containers on another machine",
	}[e.Problem]
	message := fmt.Sprintf("container engine %q %s", e.Program, what)
	if e.Detail != "" {
		message += ": " + e.Detail
	}
	return message
}

// NextStep is the next thing to do.
func (e *EngineError) NextStep() next.Step {
	switch e.Problem {
	case NotInstalled:
		return next.Words("install Docker (https://docs.docker.com/get-docker/) or Podman, and set install.engine in vps.yaml if it is not docker")
	case NotRunning:
		return startStep(engineName(e.Program), e.GOOS)
	case PermissionDenied:
		if engineName(e.Program) == podman {
			return next.Say("check that %s works as this user", next.Shell("podman", "info"))
		}
		return next.Say("add yourself to the docker group (sudo usermod -aG docker \"$USER\"), log in again and check that %s works", next.Shell("docker", "info"))
	default:
		return next.Say("use an engine on this machine (unset DOCKER_HOST, or %s), or give the server an address that the other machine can reach", next.Shell("docker", "context", "use", "default"))
	}
}

func startStep(name, goos string) next.Step {
	switch {
	case name == podman && goos == "darwin":
		return next.Say("run %s, then try again", next.Shell("podman", "machine", "start"))
	case name == podman:
		return next.Say("check that %s works, then try again", next.Shell("podman", "info"))
	case goos == "darwin":
		return next.Say("start Docker Desktop (open -a Docker), wait until %s works, then try again", next.Shell("docker", "info"))
	default:
		return next.Say("start the engine (sudo systemctl start docker), or check DOCKER_HOST and %s, then try again", next.Shell("docker", "context", "ls"))
	}
}

// CommandError is an engine command that failed.
type CommandError struct {
	Program string
	Verb    string // for example "pull"
	Code    int    // exit code; -1 if it was ended by a signal
	Stderr  string // what it said last, one line
}

// Error says which command failed and what it said.
func (e *CommandError) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("%s %s failed with exit code %d", engineName(e.Program), e.Verb, e.Code)
	}
	return fmt.Sprintf("%s %s failed: %s", engineName(e.Program), e.Verb, e.Stderr)
}

// ImageError is an image that the engine does not have and could not get.
type ImageError struct {
	Image string
	Err   error
}

// Error names the image.
func (e *ImageError) Error() string { return fmt.Sprintf("image %q: %v", e.Image, e.Err) }

// Unwrap returns the reason.
func (e *ImageError) Unwrap() error { return e.Err }

// NextStep is the next thing to do.
func (e *ImageError) NextStep() next.Step {
	return next.Words("check the name and tag in install.image of vps.yaml and this machine's network, or load the image yourself")
}

// ExitError is a container whose program ended with a failure.
type ExitError struct {
	Container string
	Code      int
}

// Error names the container and the code.
func (e *ExitError) Error() string {
	return fmt.Sprintf("container %q ended with exit code %d", e.Container, e.Code)
}

// ExitCode is the code of the program in the container.
func (e *ExitError) ExitCode() int { return e.Code }

// LeftoverError is a container that could not be removed.
type LeftoverError struct {
	Program   string
	Container string
	Err       error
}

// Error names the container.
func (e *LeftoverError) Error() string {
	return fmt.Sprintf("container %q could not be removed: %v", e.Container, e.Err)
}

// Unwrap returns the reason.
func (e *LeftoverError) Unwrap() error { return e.Err }

// NextStep is the next thing to do.
func (e *LeftoverError) NextStep() next.Step {
	return next.Say("remove it yourself: %s rm --force %s", engineName(e.Program), e.Container)
}

// classify recognises in what an engine's program said that it cannot reach
// its engine; zero if it said something else.
func classify(stderr string) Problem {
	text := strings.ToLower(stderr)
	switch {
	case containsAny(text, "permission denied", "access is denied"):
		return PermissionDenied
	case containsAny(text, "cannot connect to", "unable to connect to", "connection refused",
		"is the docker daemon running", "no such host", "i/o timeout", "error during connect",
		"failed to connect to the docker api", "no such file or directory"):
		return NotRunning
	}
	return 0
}

func containsAny(text string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// lastLine is the last line of text that is not empty and says something.
func lastLine(text string) string {
	lines := strings.Split(text, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if line != "" && !strings.HasPrefix(line, "Run '") && !strings.HasPrefix(line, "See '") {
			return line
		}
	}
	return ""
}
