package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/bootstrap"
	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/secrets"
)

// The findings that need a container.
const (
	engineFinding = "container engine"
	imageFinding  = "container image"
	evalFinding   = "evaluation"
)

// notAsked says why Nix was not asked: what depends on its answer is unknown.
type notAsked struct{ why string }

func (e notAsked) Error() string { return "unknown: " + e.why }

// engine looks whether there is one, and its image. It says why Nix cannot be
// asked, if it cannot.
func (c *checker) engine(ctx context.Context) (l findings, why string) {
	install := c.p.config.Install
	engine := container.Engine{Program: install.Engine}
	if err := engine.Ping(ctx); err != nil {
		l.err(engineFinding, err, next.Words("start the container engine"))
		l.skip(imageFinding, "no container engine answers")
		return l, "no container engine answers"
	}
	l.pass(engineFinding, "%s answers", install.Engine)
	has, err := engine.HasImage(ctx, install.Image)
	switch {
	case err != nil:
		l.err(imageFinding, err, next.Words("start the container engine"))
		return l, "the image could not be asked for"
	case !has:
		l.fail(imageFinding, next.Shell(install.Engine, "pull", install.Image), "%s is not here yet", install.Image)
		return l, "the container image is not here"
	}
	fixed := "; by its digest"
	if !strings.Contains(install.Image, "@") {
		fixed = "; by tag, not by digest: a registry may serve another one under it"
	}
	l.pass(imageFinding, "%s%s", install.Image, fixed)
	return l, ""
}

// ask gives what Nix says about the tree, each output evaluated whole and once. An
// answer about this very tree that is kept is as good as a new one. The error is
// notAsked, or about the flake.
func (c *checker) ask(ctx context.Context) (*facts.Answer, error) {
	t, err := c.tree()
	if err != nil {
		return nil, notAsked{"the tree could not be collected"}
	}
	q := facts.Question{Outputs: c.outputs(), Build: true}
	if answer, ok := facts.LoadKept(c.p.Dir).Answer(t.Manifest().Digest(), q); ok {
		return answer, nil
	}
	if c.o.Offline {
		return nil, notAsked{"-offline starts no container"}
	}
	if _, why := c.engines(); why != "" {
		return nil, notAsked{why}
	}
	progress := c.p.log.Progress("nix")
	defer progress.Close()
	line := progress.Host("nix")
	line.Phase("evaluating the configuration")
	answer, err := c.p.evaluate(ctx, t, line, q)
	line.Done(resultOf(err), nil)
	return answer, err
}

// outputs are those that the hosts of vps.yaml are built from; none, which stands
// for all, if that is not known of each of them.
func (c *checker) outputs() []string {
	var names []string
	for _, h := range c.p.config.Hosts {
		name := h.KnownOutput()
		if name == "" {
			return nil
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// evaluation: each output, with what Nix says about it.
func (c *checker) evaluation(context.Context) (l findings) {
	l, _ = c.engines()
	answer, err := c.answer()
	switch {
	case errors.As(err, new(notAsked)):
		l.skip(evalFinding, "%v", err)
		return l
	case err != nil:
		l.err(evalFinding, err, next.Target("check"))
		return l
	}
	names := c.outputs()
	if len(names) == 0 {
		names = answer.Outputs
	}
	for _, name := range names {
		host, err := answer.Host(name)
		if errors.As(err, new(*facts.NoOutputError)) {
			continue // told of the host
		}
		l.verdict(evalFinding+" of "+name, err, next.Target("check"), "%s", summaryOf(host))
		l.ageKey(name, host)
	}
	return l
}

// ageKey tells of an output that decrypts with no key file. SSH host keys do for a
// server that runs already.
func (l *findings) ageKey(output string, h facts.Host) {
	fault := bootstrap.AgeFault(output, h)
	switch name := "age key of " + output; {
	case fault == nil:
	case h.Age.None():
		l.fail(name, bootstrap.SetKeyFile(), "%v", fault)
	default:
		l.skip(name, "%v; bootstrap refuses it", fault)
	}
}

// summaryOf is a host in a line.
func summaryOf(h facts.Host) string {
	return fmt.Sprintf("%s, %s, %s", portsText(h.SSHPorts), secretsText(h.Secrets), disksText(h.Disks))
}

func portsText(ports []int) string {
	switch len(ports) {
	case 0:
		if ports == nil {
			return "SSH on an unknown port"
		}
		return "no SSH"
	case 1:
		return fmt.Sprintf("SSH on port %d", ports[0])
	}
	return "SSH on ports " + strings.Trim(fmt.Sprint(ports), "[]")
}

func secretsText(list []secrets.Declared) string {
	if list == nil {
		return "unknown secrets"
	}
	return fmt.Sprintf("%d secrets", len(list))
}

func disksText(disks []string) string {
	switch {
	case disks == nil:
		return "unknown disks"
	case len(disks) == 0:
		return "no disk"
	}
	return "disk " + strings.Join(disks, ", ")
}
