package facts

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/tree"
)

const (
	// nixLimit is how long one Nix command may take: downloading nixpkgs over a
	// slow line and evaluating it on a small machine are in it.
	nixLimit = 20 * time.Minute
	// maxAnswer bounds what a Nix command may print.
	maxAnswer = 16 << 20
)

// Nix runs Nix commands on a tree, each in a container that is gone afterwards.
// It is an [Evaluator].
type Nix struct {
	Engine  container.Engine
	Image   string
	Network string // "" is the engine's default
	Tree    *tree.Tree
	Options []string  // after nix and its common options, before the command
	Log     io.Writer // what Nix tells meanwhile; nil for nowhere
}

// Ref is where the container has the tree.
func (n *Nix) Ref() string { return "path:/work" }

// Eval runs nix eval.
func (n *Nix) Eval(ctx context.Context, args ...string) ([]byte, error) {
	return n.Run(ctx, "", append([]string{"eval"}, args...)...)
}

// Run gives what a command printed, or the file print (an absolute path in the
// container; the tree is at /work) after its success. A command that fails is a
// [*NixError].
func (n *Nix) Run(ctx context.Context, print string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, nixLimit, fmt.Errorf("nix %s took longer than %v", args[0], nixLimit))
	defer cancel()
	command := container.NixCommand{
		Job:  container.Job{Run: "vps-nix-" + strings.ToLower(rand.Text()), Image: n.Image, Network: n.Network},
		Args: append(append([]string{}, n.Options...), args...), Print: print,
	}
	archive, err := command.Archive(ContainerFiles(n.Tree))
	if err != nil {
		return nil, fmt.Errorf("pack the tree: %w", err)
	}
	stdout, stderr := &bounded{max: maxAnswer}, &bounded{max: 1 << 20, last: true}
	log := n.Log
	if log == nil {
		log = io.Discard
	}
	err = n.Engine.Run(ctx, command.Spec(archive), stdout, io.MultiWriter(stderr, log))
	var exit *container.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, newNixError(args[0], exit.Code, stderr.String(), n.source)
	case err != nil:
		return nil, err
	case stdout.over:
		return nil, fmt.Errorf("nix %s printed more than %d MB", args[0], maxAnswer>>20)
	}
	return stdout.data, nil
}

// source names the file of the project that is at a path of the tree, or gives "".
func (n *Nix) source(path string) string {
	if _, ok := n.Tree.File(path); !ok {
		return ""
	}
	return n.Tree.Source(path)
}

// GetImage makes sure that the engine has the image.
func (n *Nix) GetImage(ctx context.Context, progress func(string)) error {
	has, err := n.Engine.HasImage(ctx, n.Image)
	if err != nil || has {
		return err
	}
	progress("downloading " + n.Image)
	log := n.Log
	if log == nil {
		log = io.Discard
	}
	return n.Engine.Pull(ctx, n.Image, log)
}

// ContainerFiles gives a tree in the form in which containers take it.
func ContainerFiles(t *tree.Tree) []container.File {
	var files []container.File
	for _, e := range t.Manifest().Entries() {
		f := container.File{Path: e.Path, Mode: 0o644, LinkTarget: e.Target}
		switch e.Type {
		case tree.TypeExecutable:
			f.Mode = 0o755
		case tree.TypeLink:
			f.Mode = fs.ModeSymlink | 0o777
		}
		f.Data, _ = t.File(e.Path)
		files = append(files, f)
	}
	return files
}

// bounded keeps at most max bytes: the first, or the last.
type bounded struct {
	data []byte
	max  int
	last bool
	over bool
}

// Write never fails.
func (b *bounded) Write(p []byte) (int, error) {
	b.data = append(b.data, p...)
	if extra := len(b.data) - b.max; extra > 0 {
		b.over = true
		if b.last {
			b.data = bytes.Clone(b.data[extra:])
		} else {
			b.data = b.data[:b.max]
		}
	}
	return len(p), nil
}

func (b *bounded) String() string { return string(b.data) }
