package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
)

// The findings that need a container.
const (
	engineFinding = "container engine"
	imageFinding  = "container image"
	nixFinding    = "nix flake check"
	evalFinding   = "evaluation"
)

// container asks Nix itself, in a container, what it thinks of nix/.
func (c *checker) container(ctx context.Context) (l findings) {
	n := c.p.nix(nil, io.Discard)
	if why := c.engine(ctx, n, &l); why != "" {
		l.skip(nixFinding, "%s", why)
		l.skip(evalFinding, "%s", why)
		return l
	}
	var err error
	if n.tree, err = c.tree(); err != nil {
		l.skip(nixFinding, "the tree could not be collected")
		l.skip(evalFinding, "the tree could not be collected")
		return l
	}
	progress := c.p.UI.Progress("nix")
	defer progress.Close()
	line := progress.Host("nix")
	line.Phase("checking the flake")
	_, err = n.run(ctx, "", flakeCheckArgs()...)
	l.verdict(nixFinding, err, next.Target("check"), "nothing is wrong in the flake")
	line.Phase("evaluating every output")
	l = append(l, c.evaluate(ctx, n)...)
	line.Done(resultOf(err), nil)
	return l
}

func flakeCheckArgs() []string {
	return []string{"flake", "check", "--no-build", "--no-write-lock-file", "path:/work"}
}

// engine looks whether there is one, and its image. It says why Nix cannot be
// asked, if it cannot.
func (c *checker) engine(ctx context.Context, n *nixOnTree, l *findings) string {
	if err := n.engine.Ping(ctx); err != nil {
		l.err(engineFinding, err, next.Words("start the container engine"))
		l.skip(imageFinding, "no container engine answers")
		return "no container engine answers"
	}
	l.pass(engineFinding, "%s answers", c.p.Config.Install.Engine)
	has, err := n.engine.HasImage(ctx, n.image)
	switch {
	case err != nil:
		l.err(imageFinding, err, next.Words("start the container engine"))
		return "the image could not be asked for"
	case !has:
		l.fail(imageFinding, next.Shell(c.p.Config.Install.Engine, "pull", n.image), "%s is not here yet", n.image)
		return "the image is not here"
	}
	l.pass(imageFinding, "%s", n.image)
	if c.o.Offline {
		return "-offline"
	}
	return ""
}

// evaluate lets Nix evaluate the outputs that hosts are built from, each by
// itself, so that each has a finding of its own.
func (c *checker) evaluate(ctx context.Context, n *nixOnTree) (l findings) {
	names, err := c.outputNames(ctx, n)
	if err != nil {
		l.err(evalFinding, err, next.Target("check"))
		return l
	}
	for _, name := range names {
		facts, err := facts.ReadFlake(ctx, "/work", n, name)
		if err == nil && !slices.Contains(facts.Outputs, name) {
			err = fmt.Errorf("nix/flake.nix has no output %q", name)
		}
		if err != nil {
			l.err(evalFinding+" of "+name, evalError(err), next.Target("check"))
			continue
		}
		h := facts.Host(name)
		l.pass(evalFinding+" of "+name, "SSH on port %d, %d secrets, disk %s", h.SSHPort, len(h.Secrets), strings.Join(h.Disks, ", "))
	}
	return l
}

// evalError gives Nix's own words alone.
func evalError(err error) error {
	var said *NixError
	if errors.As(err, &said) {
		return said
	}
	return err
}

// outputNames are the outputs that the hosts of vps.yaml are built from, or all
// if that is not known of each of them.
func (c *checker) outputNames(ctx context.Context, n *nixOnTree) ([]string, error) {
	var names []string
	for _, h := range c.p.Config.Hosts {
		if name := outputOf(h); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 || len(names) < len(c.p.Config.Hosts) {
		out, err := n.Eval(ctx, "--json", "--no-write-lock-file", "path:/work#nixosConfigurations", "--apply", "builtins.attrNames")
		if err != nil {
			return nil, err
		}
		var all []string
		if err := json.Unmarshal(out, &all); err != nil {
			return nil, fmt.Errorf("nix printed something else than the names of the outputs: %w", err)
		}
		names = append(names, all...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
