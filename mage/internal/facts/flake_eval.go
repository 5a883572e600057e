package facts

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// flakeQuery is applied to nixosConfigurations. It takes from each system only
// what is needed, so that Nix evaluates little of it, and is silent where a
// configuration has no such option.
const flakeQuery = `hosts: builtins.mapAttrs (name: host: let c = host.config; in {
  ports = c.services.openssh.ports or [ ];
  disks = map (disk: disk.device) (builtins.attrValues (c.disko.devices.disk or { }));
  keyFile = c.sops.age.keyFile or null;
  secrets = map (s: {
    inherit (s) key path mode neededForUsers;
    name = s.name;
    owner = s.owner or null;
    otherFile = toString s.sopsFile != toString c.sops.defaultSopsFile;
  }) (builtins.attrValues (c.sops.secrets or { }));
}) (%s)`

type evaluatedHost struct {
	Ports   []int    `json:"ports"`
	Disks   []string `json:"disks"`
	KeyFile *string  `json:"keyFile"`
	Secrets []struct {
		Name           string  `json:"name"`
		Key            string  `json:"key"`
		Path           string  `json:"path"`
		Owner          *string `json:"owner"`
		Mode           string  `json:"mode"`
		NeededForUsers bool    `json:"neededForUsers"`
		OtherFile      bool    `json:"otherFile"`
	} `json:"secrets"`
}

func evaluateFlake(ctx context.Context, dir string, eval Evaluator, outputs []string) (*FlakeFacts, error) {
	out, err := eval.Eval(ctx, flakeEvalArgs(dir, outputs)...)
	if err != nil {
		return nil, fmt.Errorf("evaluate the flake: %w", err)
	}
	var hosts map[string]evaluatedHost
	if err := json.Unmarshal(out, &hosts); err != nil {
		return nil, fmt.Errorf("evaluate the flake: nix printed something else than asked for: %w", err)
	}
	facts := make(map[string]HostFacts, len(hosts))
	for name, h := range hosts {
		facts[name] = h.facts()
	}
	return newFlakeFacts(facts, SourceEvaluated), nil
}

// flakeEvalArgs are the arguments after "nix eval". An explicit path: keeps Nix
// from looking for a git repository around dir, and so from not seeing files
// that git does not know.
func flakeEvalArgs(dir string, outputs []string) []string {
	chosen := "hosts"
	if len(outputs) > 0 {
		quoted := make([]string, len(outputs))
		for i, o := range outputs {
			quoted[i] = nixString(o)
		}
		chosen = "builtins.intersectAttrs (builtins.listToAttrs (map (name: { inherit name; value = null; }) [ " +
			strings.Join(quoted, " ") + " ])) hosts"
	}
	return []string{
		"--json", "--no-write-lock-file",
		"path:" + dir + "#nixosConfigurations",
		"--apply", fmt.Sprintf(flakeQuery, chosen),
	}
}

// nixString writes s as a Nix string literal.
func nixString(s string) string {
	return strings.ReplaceAll(strconv.Quote(s), "${", `\${`)
}

func (h evaluatedHost) facts() HostFacts {
	facts := HostFacts{Disks: slices.Sorted(slices.Values(h.Disks))}
	if len(h.Ports) > 0 {
		facts.SSHPort = h.Ports[0]
	}
	if h.KeyFile != nil {
		facts.AgeKeyFile = *h.KeyFile
	}
	for _, s := range h.Secrets {
		d := Declared{
			Name: s.Name, Key: s.Key, Path: s.Path, Owner: rootUser, Mode: s.Mode,
			NeededForUsers: s.NeededForUsers, OtherFile: s.OtherFile,
		}
		if s.Owner != nil {
			d.Owner = *s.Owner
		}
		facts.Secrets = append(facts.Secrets, d)
	}
	slices.SortFunc(facts.Secrets, byName)
	return facts
}

// rootUser owns what names no owner.
const rootUser = "root"

func byName(a, b Declared) int { return cmp.Compare(a.Name, b.Name) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
