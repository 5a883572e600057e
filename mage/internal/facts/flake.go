package facts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Declared is a secret that the NixOS configuration asks for.
type Declared struct {
	Name           string // as sops.secrets names it
	Key            string // what it is called in secrets.yaml, "/" between levels; most often Name
	Path           string // where the server has it
	Owner          string // user who may read it
	Mode           string // octal, as written: "0400"
	NeededForUsers bool   // there before the users are made
	OtherFile      bool   // lies in an encrypted file of its own, not in secrets.yaml
}

// HostFacts is what the configuration says of one flake output. A zero value
// says that it is silent about it.
type HostFacts struct {
	Secrets    []Declared // sorted by Name
	SSHPort    int        // the first of them, if sshd listens on several
	Disks      []string   // devices that an install erases, sorted
	AgeKeyFile string     // absolute path on the server
}

// The two ways in which facts of a flake come about, as FlakeFacts.Source.
const (
	SourceEvaluated = "evaluated with nix"
	SourceRead      = "read from our own nix files"
)

// FlakeFacts is what the flake of a tree says of the servers it describes.
//
// Hosts has each output by itself. The other fields are for callers that mean
// "the" server: every secret that any output declares, and of the rest what the
// first output says that says anything.
type FlakeFacts struct {
	Outputs    []string   // names of nixosConfigurations, sorted
	Secrets    []Declared // sorted by Name
	SSHPort    int
	Disk       string // the first of HostFacts.Disks
	AgeKeyFile string
	Source     string // SourceEvaluated or SourceRead
	Hosts      map[string]HostFacts
}

// Host gives the facts of one output, and those of all outputs together where
// there is none of that name, as when the flake could not be read that far.
func (f *FlakeFacts) Host(output string) HostFacts {
	if h, ok := f.Hosts[output]; ok {
		return h
	}
	h := HostFacts{Secrets: f.Secrets, SSHPort: f.SSHPort, AgeKeyFile: f.AgeKeyFile}
	if f.Disk != "" {
		h.Disks = []string{f.Disk}
	}
	return h
}

// Evaluator runs Nix, in a container or as a program of this machine.
type Evaluator interface {
	// Eval runs "nix eval" with the given arguments and returns what it
	// printed. The flake lies where its caller said it does.
	Eval(ctx context.Context, args ...string) ([]byte, error)
}

// ReadFlake learns what the flake in dir, an assembled tree, says. With an
// evaluator Nix itself is asked, and dir is a path as the evaluator sees it;
// naming outputs limits the answer to them, which saves memory. Without one
// (nil) the files are read by ReadFlakeFiles.
func ReadFlake(ctx context.Context, dir string, eval Evaluator, outputs ...string) (*FlakeFacts, error) {
	if eval != nil {
		return evaluateFlake(ctx, dir, eval, outputs)
	}
	return ReadFlakeFiles(func(path string) ([]byte, bool) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		return data, err == nil
	})
}

// ReadFlakeFiles reads a flake without Nix: read gives the file at a path of the
// assembled tree, with slashes, and whether there is one.
//
// It is a reader of files written as ours are, not an evaluator. It understands
// nixosConfigurations as a plain set, or as mapAttrs of a function over one;
// modules that flake.nix names in lists, their imports, and modules/*.nix by our
// four names; options with a default; values that are strings, numbers and
// lists, references to config.… and to names bound by let, mkDefault and
// mkForce. Conditions, functions and merged sets it does not compute: where one
// of them decides a fact, it returns a *FlakeError with the place, never a guess.
func ReadFlakeFiles(read func(path string) ([]byte, bool)) (*FlakeFacts, error) {
	flake, err := loadFlake(read)
	if err != nil {
		return nil, err
	}
	hosts := make(map[string]HostFacts, len(flake.hosts))
	for _, h := range flake.hosts {
		facts, err := h.facts()
		if err != nil {
			return nil, fmt.Errorf("flake output %q: %w", h.name, err)
		}
		hosts[h.name] = facts
	}
	return newFlakeFacts(hosts, SourceRead), nil
}

func newFlakeFacts(hosts map[string]HostFacts, source string) *FlakeFacts {
	f := &FlakeFacts{Source: source, Hosts: hosts}
	for name := range hosts {
		f.Outputs = append(f.Outputs, name)
	}
	slices.Sort(f.Outputs)
	for _, name := range f.Outputs {
		f.add(hosts[name])
	}
	slices.SortFunc(f.Secrets, byName)
	return f
}

func (f *FlakeFacts) add(h HostFacts) {
	if f.SSHPort == 0 {
		f.SSHPort = h.SSHPort
	}
	if f.Disk == "" && len(h.Disks) > 0 {
		f.Disk = h.Disks[0]
	}
	if f.AgeKeyFile == "" {
		f.AgeKeyFile = h.AgeKeyFile
	}
	for _, s := range h.Secrets {
		same := func(d Declared) bool { return d.Name == s.Name }
		if !slices.ContainsFunc(f.Secrets, same) {
			f.Secrets = append(f.Secrets, s)
		}
	}
}
