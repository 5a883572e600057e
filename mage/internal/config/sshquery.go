package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer    = 1 << 20          // bytes of `ssh -G`; a usual answer has 5 kB
	queryTimeout = 20 * time.Second // ssh -G may look up names or run Match exec
)

var errSlow = fmt.Errorf("no answer within %s; is a Match exec hanging?", queryTimeout)

// runSSH runs the ssh program and returns its standard output.
func runSSH(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, queryTimeout, errSlow)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if said := complaint(stderr.String()); said != "" {
			return nil, errors.New(said)
		}
		return nil, err
	}
	return out, nil
}

// complaint picks the line of ssh's that names the fault: the first that is
// not about the terminal.
func complaint(stderr string) string {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "Pseudo-terminal") && checkPlain(line) == nil {
			return line
		}
	}
	return ""
}

// queryArgs is the command line that asks about q; file is the -F argument or
// "" for the usual files. The name follows "--", so it cannot be an option.
func queryArgs(q query, file string) []string {
	args := []string{"-G", "-T"}
	if file != "" {
		args = append(args, "-F", file)
	}
	if q.hostName != "" {
		args = append(args, "-o", "HostName="+strings.ReplaceAll(q.hostName, "%", "%%"))
	}
	if q.user != "" {
		args = append(args, "-l", q.user)
	}
	if q.port != 0 {
		args = append(args, "-p", strconv.Itoa(q.port))
	}
	return append(args, "--", q.name)
}

// askSSH asks the ssh program about q, then again with other defaults to learn
// what is configured: see [Resolver.probe].
func (r *Resolver) askSSH(ctx context.Context, q query) (settings, error) {
	plain, err := r.ask(ctx, q, r.SSHConfig)
	if err != nil {
		return settings{}, err
	}
	withHost := probesHost(q, plain)
	unset, err := r.probe(ctx, q, r.probeFile(withHost))
	if err != nil {
		return settings{}, err
	}
	hostSet := hostNameSet(plain, unset, withHost, q.name)
	if slices.Contains(unset.identities, probeFinal) {
		if unset, err = r.probe(ctx, q, r.finalProbeFile()); err != nil {
			return settings{}, err
		}
	}
	s := compare(plain, unset, sshDefaults(q.name, r.User))
	s.hostName.set = hostSet
	return s, nil
}

func (r *Resolver) ask(ctx context.Context, q query, file string) (answer, error) {
	out, err := r.Run(ctx, r.Program, queryArgs(q, file)...)
	if err == nil {
		var a answer
		if a, err = parseAnswer(out); err == nil {
			return a, nil
		}
	}
	if errors.Is(err, context.Canceled) {
		return answer{}, fmt.Errorf("asking ssh_config about host %q: %w", q.name, err)
	}
	return answer{}, &SSHConfigError{Host: q.name, Problem: fmt.Sprintf("%s -G: %v", r.Program, err), Err: err}
}
