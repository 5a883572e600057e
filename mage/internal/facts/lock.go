package facts

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// Pin is what flake.lock says of one input.
type Pin struct {
	Input        string // name in flake.nix
	Rev          string // commit, or "" where an input has none
	LastModified time.Time
	NarHash      string
	Type         string // github, git, path, …
	Owner, Repo  string // where the type has them
	Ref          string // branch or tag as flake.nix asks for it; "" is the default branch
}

// Lock is a flake.lock: one pin for each input that it locks. Whether these are the
// inputs that flake.nix names, Nix says when it evaluates the flake.
type Lock struct {
	pins map[string]Pin
}

// Nixpkgs is the pin that decides which NixOS is built. A nil Lock has none.
func (l *Lock) Nixpkgs() (Pin, bool) { return l.Pin("nixpkgs") }

// Pin gives the pin of an input. A nil Lock has none.
func (l *Lock) Pin(input string) (Pin, bool) {
	if l == nil {
		return Pin{}, false
	}
	p, ok := l.pins[input]
	return p, ok
}

// Pins are all of them, sorted by input.
func (l *Lock) Pins() []Pin {
	if l == nil {
		return nil
	}
	pins := make([]Pin, 0, len(l.pins))
	for _, p := range l.pins {
		pins = append(pins, p)
	}
	slices.SortFunc(pins, func(a, b Pin) int { return cmp.Compare(a.Input, b.Input) })
	return pins
}

// lockSize is far above any real flake.lock.
const lockSize = 4 << 20

type lockSource struct {
	Type         string `json:"type"`
	Owner        string `json:"owner"`
	Repo         string `json:"repo"`
	Ref          string `json:"ref"`
	Rev          string `json:"rev"`
	NarHash      string `json:"narHash"`
	LastModified int64  `json:"lastModified"`
}

type lockFile struct {
	Version int    `json:"version"`
	Root    string `json:"root"`
	Nodes   map[string]struct {
		Inputs   map[string]json.RawMessage `json:"inputs"`
		Locked   *lockSource                `json:"locked"`
		Original lockSource                 `json:"original"`
	} `json:"nodes"`
}

// ReadLock reads a flake.lock of the versions that Nix writes since flakes are
// as they are (5 to 7).
func ReadLock(data []byte) (*Lock, error) {
	if len(data) > lockSize {
		return nil, errors.New("flake.lock has more than 4 MB: it is not what Nix writes")
	}
	var f lockFile
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("flake.lock is not what Nix writes: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("flake.lock has something after its end: was it merged by hand?")
	}
	if f.Version < 5 || f.Version > 7 {
		return nil, fmt.Errorf("flake.lock has version %d; 5 to 7 are known here", f.Version)
	}
	return f.lock()
}

func (f *lockFile) lock() (*Lock, error) {
	root, ok := f.Nodes[f.Root]
	if !ok {
		return nil, fmt.Errorf("flake.lock has no node %q, which it says is its root", f.Root)
	}
	l := &Lock{pins: make(map[string]Pin, len(root.Inputs))}
	for _, input := range slices.Sorted(maps.Keys(root.Inputs)) {
		ref := root.Inputs[input]
		budget := followBudget
		name, err := f.follow(ref, &budget)
		if err != nil {
			return nil, fmt.Errorf("flake.lock, input %q: %w", input, err)
		}
		if name == f.Root { // follows "": an input that is left out
			continue
		}
		node, ok := f.Nodes[name]
		if !ok || node.Locked == nil {
			return nil, fmt.Errorf("flake.lock, input %q: no revision is locked", input)
		}
		l.pins[input] = newPin(input, node.Locked, node.Original)
	}
	return l, nil
}

func newPin(input string, locked *lockSource, original lockSource) Pin {
	return Pin{
		Input: input, Rev: locked.Rev, LastModified: time.Unix(locked.LastModified, 0).UTC(),
		NarHash: locked.NarHash, Type: locked.Type, Owner: locked.Owner, Repo: locked.Repo,
		Ref: original.Ref,
	}
}

// followBudget is how many inputs may be looked at to find out what one means.
// Real ones need two or three.
const followBudget = 200

// follow finds the node that an input means: its name, or the way to it from the
// root through the inputs of others ("follows").
func (f *lockFile) follow(ref json.RawMessage, budget *int) (string, error) {
	var name string
	if json.Unmarshal(ref, &name) == nil {
		return name, nil
	}
	var way []string
	if err := json.Unmarshal(ref, &way); err != nil {
		return "", errors.New("it names no node")
	}
	at := f.Root
	for _, step := range way {
		if *budget--; *budget < 0 {
			return "", errors.New("inputs follow one another in a circle")
		}
		next, ok := f.Nodes[at].Inputs[step]
		if !ok {
			return "", fmt.Errorf("it follows %q, which does not exist", step)
		}
		var err error
		if at, err = f.follow(next, budget); err != nil {
			return "", err
		}
	}
	return at, nil
}
