package container

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"time"

	"github.com/dagadbm/vps/mage/internal/childenv"
)

// HasImage reports whether the engine has the image already.
func (e Engine) HasImage(ctx context.Context, image string) (bool, error) {
	_, err := e.output(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	var failed *CommandError
	if errors.As(err, &failed) && isMissing(failed.Stderr) {
		return false, nil
	}
	return err == nil, err
}

// Pull downloads the image and writes the engine's progress, plain lines, to
// progress. The error is an *ImageError if the image could not be had.
func (e Engine) Pull(ctx context.Context, image string, progress io.Writer) error {
	said := &tail{}
	cmd := exec.CommandContext(ctx, e.program(), "pull", image)
	cmd.Env = childenv.Clean()
	cmd.Stdout, cmd.Stderr = oneAtATime(progress, io.MultiWriter(progress, said))
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return &ImageError{Image: image, Err: e.commandError(ctx, err, "pull", said.String())}
	}
	return nil
}

// isMissing recognises that an engine does not know the thing it was asked for.
func isMissing(stderr string) bool {
	return containsAny(stderr, "No such", "no such", "not known", "not found")
}
