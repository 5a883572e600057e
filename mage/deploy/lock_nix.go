package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/tree"
)

// nixLimit is how long one Nix command may take: downloading nixpkgs over a slow
// line and evaluating it on a small machine are in it.
const nixLimit = 20 * time.Minute

// nixOnTree runs Nix commands on a tree, each in a container of its own. It is a
// [facts.Evaluator] of the tree at /work.
type nixOnTree struct {
	engine  container.Engine
	image   string
	network string // "" is the engine's default
	tree    *tree.Tree
	options []string // after nix and its common options, before the command
	log     io.Writer
}

func (p *Project) nix(t *tree.Tree, log io.Writer) *nixOnTree {
	install := p.Config.Install
	return &nixOnTree{engine: container.Engine{Program: install.Engine}, image: install.Image, network: install.Network, tree: t, log: log}
}

// Eval runs nix eval.
func (n *nixOnTree) Eval(ctx context.Context, args ...string) ([]byte, error) {
	return n.run(ctx, "", append([]string{"eval"}, args...)...)
}

// run gives what a command printed, or the file print after its success.
func (n *nixOnTree) run(ctx context.Context, print string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, nixLimit, fmt.Errorf("nix %s took longer than %v", args[0], nixLimit))
	defer cancel()
	command := container.NixCommand{
		Job:  container.Job{Run: "vps-nix-" + newID(time.Now()), Image: n.image, Network: n.network},
		Args: append(append([]string{}, n.options...), args...), Print: print,
	}
	archive, err := command.Archive(containerFiles(n.tree))
	if err != nil {
		return nil, fmt.Errorf("pack the tree: %w", err)
	}
	stdout, stderr := &bounded{max: maxAnswer}, &bounded{max: 1 << 20, last: true}
	err = n.engine.Run(ctx, command.Spec(archive), stdout, io.MultiWriter(stderr, n.log))
	var exit *container.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, newNixError(args[0], exit.Code, stderr.String(), n.inTree)
	case err != nil:
		return nil, err
	case stdout.over:
		return nil, fmt.Errorf("nix %s printed more than %d MB", args[0], maxAnswer>>20)
	}
	return stdout.data, nil
}

func (n *nixOnTree) inTree(path string) bool {
	_, ok := n.tree.File(path)
	return ok
}

// containerFiles gives a tree in the form in which containers take it.
func containerFiles(t *tree.Tree) []container.File {
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

// getImage makes sure that the engine has the image.
func (n *nixOnTree) getImage(ctx context.Context, progress func(string)) error {
	has, err := n.engine.HasImage(ctx, n.image)
	if err != nil || has {
		return err
	}
	progress("downloading " + n.image)
	return n.engine.Pull(ctx, n.image, n.log)
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
