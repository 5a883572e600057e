package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
)

// HostAccess is how a container reaches a port that listens on this machine's
// loopback.
type HostAccess struct {
	Network string // for RunSpec.Network; empty for the engine's default
	Address string // name or address of this machine, seen from the container
}

// HostAccess says how a container reaches a port of ours. The error is an
// *EngineError with OtherMachine when it cannot.
func (e Engine) HostAccess(ctx context.Context) (HostAccess, error) {
	remote, err := e.Remote(ctx)
	if err != nil {
		return HostAccess{}, err
	}
	if remote {
		return HostAccess{}, e.problem(OtherMachine, "")
	}
	inVM, err := e.inVM(ctx)
	if err != nil {
		return HostAccess{}, err
	}
	return e.hostAccess(inVM), nil
}

// hostAccess: containers of an engine that shares our kernel may share our
// network; one in a virtual machine offers a name for the host.
func (e Engine) hostAccess(inVM bool) HostAccess {
	switch {
	case !inVM:
		return HostAccess{Network: "host", Address: "127.0.0.1"}
	case e.isPodman():
		return HostAccess{Address: "host.containers.internal"}
	default:
		return HostAccess{Address: "host.docker.internal"}
	}
}

// inVM reports whether a local engine runs in a virtual machine: always on
// macOS, and with Docker Desktop on Linux too.
func (e Engine) inVM(ctx context.Context) (bool, error) {
	if runtime.GOOS != "linux" {
		return true, nil
	}
	if e.isPodman() {
		return false, nil
	}
	system, err := e.output(ctx, "info", "--format", "{{.OperatingSystem}}")
	if err != nil {
		return false, fmt.Errorf("ask the container engine for its system: %w", err)
	}
	return strings.Contains(system, "Docker Desktop"), nil
}

// Remote reports whether the engine's containers run on another machine.
func (e Engine) Remote(ctx context.Context) (bool, error) {
	endpoint, err := e.endpoint(ctx)
	if err != nil {
		return false, err
	}
	return isRemote(endpoint), nil
}

// endpoint is the address at which the program talks to its engine; empty if
// it needs none.
func (e Engine) endpoint(ctx context.Context) (string, error) {
	if e.isPodman() {
		return e.podmanEndpoint(ctx)
	}
	endpoint, err := e.output(ctx, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
	if err != nil {
		return "", fmt.Errorf("ask for the engine's address: %w", err)
	}
	return endpoint, nil
}

func (e Engine) podmanEndpoint(ctx context.Context) (string, error) {
	if host := os.Getenv("CONTAINER_HOST"); host != "" {
		return host, nil
	}
	out, err := e.output(ctx, "info", "--format", "{{.Host.ServiceIsRemote}}")
	if err != nil || out != "true" {
		return "", err
	}
	out, err = e.output(ctx, "system", "connection", "list", "--format", "{{.Default}} {{.URI}}")
	var failed *CommandError
	if errors.As(err, &failed) {
		return "", nil
	}
	for line := range strings.Lines(out) {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), "true "); ok {
			return uri, nil
		}
	}
	return "", err
}

// isRemote judges the address of an engine. A socket file and the loopback
// (a virtual machine of this laptop) are here; anything else is elsewhere.
func isRemote(endpoint string) bool {
	address, err := url.Parse(endpoint)
	if err != nil {
		return true
	}
	host := address.Hostname()
	if host == "" || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

// Arch is the architecture that the engine's containers run on, as Go names it:
// amd64 or arm64. A system for another one cannot be built there.
func (e Engine) Arch(ctx context.Context) (string, error) {
	args := []string{"version", "--format", "{{.Server.Arch}}"}
	if e.isPodman() {
		args = []string{"info", "--format", "{{.Host.Arch}}"}
	}
	arch, err := e.output(ctx, args...)
	if err != nil {
		return "", fmt.Errorf("ask the container engine for its architecture: %w", err)
	}
	return arch, nil
}
