package container

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Container is one that exists, running or not.
type Container struct {
	ID    string
	Name  string
	State string // the engine's words: created, running, "Up 2 seconds", …

	Project, Server, Who string // its labels; "" if it has none
}

// FindByLabel lists the containers, running or not, that carry the label.
func (e Engine) FindByLabel(ctx context.Context, key, value string) ([]Container, error) {
	out, err := e.output(ctx, findArgs(key, value)...)
	if err != nil {
		return nil, fmt.Errorf("list containers with label %s=%q: %w", key, value, err)
	}
	return parseContainers(out), nil
}

func findArgs(key, value string) []string {
	return []string{"ps", "--all", "--no-trunc", "--filter", "label=" + key + "=" + value,
		"--format", "{{.ID}}\t{{.Names}}\t{{.State}}" + labelFormat(LabelProject) + labelFormat(LabelServer) + labelFormat(LabelWho)}
}

// labelFormat is the column of a label, in Docker's words.
func labelFormat(label string) string { return "\t{{.Label \"" + label + "\"}}" }

// parseContainers reads what findArgs prints; a line of another shape is
// skipped.
func parseContainers(out string) []Container {
	var found []Container
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(fields) < 3 || fields[0] == "" {
			continue
		}
		c := Container{ID: fields[0], Name: fields[1], State: fields[2]}
		if len(fields) == 6 {
			c.Project, c.Server, c.Who = fields[3], fields[4], fields[5]
		}
		found = append(found, c)
	}
	return found
}

// Stop asks the container's program to end (SIGTERM), kills it after grace,
// and removes the container. A container that is gone already is no error.
func (e Engine) Stop(ctx context.Context, id string, grace time.Duration) error {
	if err := e.stop(ctx, id, grace); err != nil && !missing(err) {
		return err
	}
	return e.remove(ctx, id)
}

func (e Engine) stop(ctx context.Context, id string, grace time.Duration) error {
	_, err := e.output(ctx, stopArgs(id, grace)...)
	if err == nil {
		return nil
	}
	return fmt.Errorf("stop container %q: %w", id, err)
}

// stopArgs rounds up: a grace below a second must not become none.
func stopArgs(id string, grace time.Duration) []string {
	seconds := int((grace + time.Second - 1) / time.Second)
	return []string{"stop", "--time", strconv.Itoa(seconds), id}
}

// remove removes the container, running or not, and waits until it is gone.
// With --rm the engine removes it as well; whoever is first, the other is told
// so, and that is no error.
func (e Engine) remove(ctx context.Context, id string) error {
	for {
		_, err := e.output(ctx, "rm", "--force", "--volumes", id)
		if err == nil || missing(err) {
			return nil
		}
		var failed *CommandError
		if !errors.As(err, &failed) || !strings.Contains(failed.Stderr, "already in progress") {
			return &LeftoverError{Program: e.program(), Container: id, Err: err}
		}
		select {
		case <-ctx.Done():
			return &LeftoverError{Program: e.program(), Container: id, Err: context.Cause(ctx)}
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func missing(err error) bool {
	var failed *CommandError
	return errors.As(err, &failed) && isMissing(failed.Stderr)
}
