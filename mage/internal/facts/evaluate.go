package facts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dagadbm/vps/mage/internal/tree"
)

// Evaluator runs Nix on an assembled tree, in a container or as a program of this
// machine.
type Evaluator interface {
	// Eval runs "nix eval" with the given arguments and returns what it printed.
	Eval(ctx context.Context, args ...string) ([]byte, error)
	// Ref is how Nix there names the flake, such as "path:/work". An explicit
	// path: keeps Nix from looking for a git repository around the tree, and so
	// from not seeing files that git does not know.
	Ref() string
}

// Question is what is asked of a flake.
type Question struct {
	Outputs []string // names in nixosConfigurations; none stands for all
	// Build also evaluates the whole system of each output, as building it would:
	// its failed assertions and its errors are then errors of that output.
	Build bool
}

// Answer is what Nix says about a flake.
type Answer struct {
	Outputs []string         // all names in nixosConfigurations, sorted
	Hosts   map[string]Host  // of the outputs that were asked for
	Failed  map[string]error // outputs that were asked for and do not evaluate
}

// NoOutputError is an output that the flake does not have.
type NoOutputError struct {
	Output string
	Has    []string
}

func (e *NoOutputError) Error() string {
	if len(e.Has) == 0 {
		return fmt.Sprintf("the flake has no output %q, nor any other in nixosConfigurations", e.Output)
	}
	return fmt.Sprintf("the flake has no output %q in nixosConfigurations; it has %s", e.Output, strings.Join(e.Has, ", "))
}

// Host gives the facts of one output that was asked for, or why there are none.
func (a *Answer) Host(output string) (Host, error) {
	if err := a.Failed[output]; err != nil {
		return Host{}, err
	}
	if h, ok := a.Hosts[output]; ok {
		return h, nil
	}
	if slices.Contains(a.Outputs, output) {
		return Host{}, fmt.Errorf("output %q was not evaluated", output)
	}
	return Host{}, &NoOutputError{Output: output, Has: a.Outputs}
}

// Evaluate asks Nix about the flake of a tree, all outputs in one evaluation. If
// that fails, each output is evaluated by itself, so that one which does not
// evaluate hides no other. The error is one of the flake as a whole.
func Evaluate(ctx context.Context, eval Evaluator, t *tree.Tree, q Question) (*Answer, error) {
	e := &evaluation{eval: eval, tree: t, root: t.StorePath(), build: q.Build}
	names := q.Outputs
	answer, err := e.ask(ctx, names)
	if err == nil || ctx.Err() != nil {
		return answer, err
	}
	all, namesErr := e.ask(ctx, []string{})
	if namesErr != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = all.Outputs
	}
	for _, name := range names {
		if !slices.Contains(all.Outputs, name) {
			continue
		}
		if len(names) == 1 { // it was asked alone already
			all.Failed[name] = err
			continue
		}
		one, err := e.ask(ctx, []string{name})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			all.Failed[name] = err
			continue
		}
		maps.Copy(all.Hosts, one.Hosts)
	}
	return all, nil
}

type evaluation struct {
	eval  Evaluator
	tree  *tree.Tree
	root  string
	build bool
}

// ask evaluates once. nil outputs stand for all, none for the names alone.
func (e *evaluation) ask(ctx context.Context, outputs []string) (*Answer, error) {
	out, err := e.eval.Eval(ctx, "--json", "--no-update-lock-file", e.eval.Ref()+"#nixosConfigurations",
		"--apply", e.query(outputs))
	if err != nil {
		return nil, err
	}
	var said struct {
		Outputs []string          `json:"outputs"`
		Hosts   map[string]string `json:"hosts"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return nil, fmt.Errorf("nix eval printed something else than it was asked for: %w", err)
	}
	if said.Outputs == nil {
		return nil, errors.New("nix eval printed something else than it was asked for")
	}
	a := &Answer{Outputs: slices.Sorted(slices.Values(said.Outputs)), Hosts: map[string]Host{}, Failed: map[string]error{}}
	for name, text := range said.Hosts {
		h, err := Parse([]byte(text))
		if err != nil {
			a.Failed[name] = fmt.Errorf("what Nix says of output %q: %w", name, err)
			continue
		}
		a.Hosts[name] = h.relate(e.tree)
	}
	return a, nil
}

// query is the function that Nix applies to nixosConfigurations. It takes of each
// host only what is asked for, so that Nix evaluates little of it.
func (e *evaluation) query(outputs []string) string {
	wanted := "builtins.attrNames hosts"
	if outputs != nil {
		quoted := make([]string, len(outputs))
		for i, o := range outputs {
			quoted[i] = nixString(o)
		}
		wanted = "builtins.filter (name: hosts ? ${name}) [ " + strings.Join(quoted, " ") + " ]"
	}
	value := "builtins.seq host.config text"
	if e.build {
		value = "builtins.seq host.config.system.build.toplevel.drvPath text"
	}
	return `hosts:
let
  module = (
` + factsNix + `
  );
  ask = name: let
    host = hosts.${name};
    text = (module {
      inherit (host) config;
      pkgs = host.pkgs or { };
      flakeOutput = name;
      flakeRoot = ` + nixString(e.root) + `;
    }).environment.etc."vps/facts.json".text;
  in { inherit name; value = ` + value + `; };
in {
  outputs = builtins.attrNames hosts;
  hosts = builtins.listToAttrs (map ask (` + wanted + `));
}`
}

// nixString writes s as a Nix string literal.
func nixString(s string) string {
	return strings.ReplaceAll(strconv.Quote(s), "${", `\${`)
}

// relate finds the files of the tree that Nix copied to the store by themselves, and
// those that it names by a link.
func (h Host) relate(t *tree.Tree) Host {
	for i, s := range h.Secrets {
		if s.InTree() {
			if file, ok := t.Follow(s.File); ok {
				h.Secrets[i].File = file
			}
			continue
		}
		if file, ok := t.StoredFile(s.File); ok {
			h.Secrets[i].File = file
		}
	}
	return h
}
