package facts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
)

// Kept is what evaluations on this machine said about a project, in
// .vps/facts.json. It answers at once where asking Nix would take a minute. Each
// output is kept with the digest of the tree that it was evaluated from: for
// another tree its facts are those "as of" then.
//
// The file is a convenience. One that is missing, damaged or of another version
// is as if nothing was ever evaluated.
type Kept struct {
	trees   map[string]keptTree // by output
	outputs keptOutputs
}

// keptTree is one output of one tree.
type keptTree struct {
	keptAbout
	Host Host
}

// keptAbout says what facts are about.
type keptAbout struct {
	Digest string    `json:"digest"` // of the tree
	Asked  string    `json:"asked"`  // which version of facts.nix answered
	When   time.Time `json:"when"`
	Built  bool      `json:"built"` // the whole system was evaluated, not only its facts
}

type keptOutputs struct {
	Digest string   `json:"digest"`
	Names  []string `json:"names"`
}

type keptForm struct {
	Version int                 `json:"version"`
	Outputs keptOutputs         `json:"outputs"`
	Hosts   map[string]keptHost `json:"hosts"`
}

// keptHost has the facts as text, because only Parse may read them.
type keptHost struct {
	keptAbout
	Host json.RawMessage `json:"host"`
}

const (
	keptVersion = 1
	keptSize    = 16 << 20
)

func keptFile(dir string) string { return filepath.Join(dir, ".vps", "facts.json") }

// asked names the function that answers: with another facts.nix other answers may
// come of the same tree.
func asked() string {
	sum := sha256.Sum256([]byte(factsNix))
	return hex.EncodeToString(sum[:8])
}

// LoadKept reads what is kept of the project in dir.
func LoadKept(dir string) *Kept {
	k := &Kept{trees: map[string]keptTree{}}
	file, err := os.Open(keptFile(dir))
	if err != nil {
		return k
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, keptSize+1))
	if err != nil || len(data) > keptSize {
		return k
	}
	var form keptForm
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&form); err != nil || form.Version != keptVersion {
		return k
	}
	for name, h := range form.Hosts {
		host, err := Parse(h.Host)
		if err == nil {
			k.trees[name] = keptTree{h.keptAbout, host}
		}
	}
	k.outputs = form.Outputs
	return k
}

// Keep adds an answer about the tree with a digest to what is kept. built says
// that the whole systems were evaluated.
func Keep(dir, digest string, a *Answer, built bool, when time.Time) error {
	k := LoadKept(dir)
	form := keptForm{
		Version: keptVersion, Outputs: keptOutputs{Digest: digest, Names: a.Outputs}, Hosts: map[string]keptHost{},
	}
	for name, host := range a.Hosts {
		old, same := k.trees[name]
		k.trees[name] = keptTree{keptAbout{
			Digest: digest, Asked: asked(), When: when.UTC(),
			Built: built || same && old.Built && old.current(digest),
		}, host}
	}
	for name, t := range k.trees {
		if !slices.Contains(a.Outputs, name) || a.Failed[name] != nil {
			continue
		}
		text, err := json.Marshal(t.Host)
		if err != nil {
			return fmt.Errorf("keep the facts: %w", err)
		}
		form.Hosts[name] = keptHost{t.keptAbout, text}
	}
	data, err := json.Marshal(form)
	if err != nil {
		return fmt.Errorf("keep the facts: %w", err)
	}
	path := keptFile(dir)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the facts: %w", err)
	}
	if err := renameio.WriteFile(path, append(data, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("keep the facts: %w", err)
	}
	return nil
}

func (t keptAbout) current(digest string) bool {
	return digest != "" && t.Digest == digest && t.Asked == asked()
}

// Host gives the facts of an output if they are those of the tree with this
// digest: as good as asking Nix now.
func (k *Kept) Host(output, digest string) (Host, bool) {
	t, ok := k.trees[output]
	if !ok || !t.current(digest) {
		return Host{}, false
	}
	return t.Host, true
}

// AsOf gives the last known facts of an output, of whatever tree, and when they
// were asked for.
func (k *Kept) AsOf(output string) (Host, time.Time, bool) {
	t, ok := k.trees[output]
	return t.Host, t.When, ok
}

// Known lists the outputs whose facts are kept, of whatever tree, sorted.
func (k *Kept) Known() []string { return slices.Sorted(maps.Keys(k.trees)) }

// Outputs lists all outputs of the tree with this digest.
func (k *Kept) Outputs(digest string) ([]string, bool) {
	if digest == "" || k.outputs.Digest != digest {
		return nil, false
	}
	return slices.Clone(k.outputs.Names), true
}

// Answer gives what Evaluate would say of the tree with this digest, if all that
// the question asks is kept.
func (k *Kept) Answer(digest string, q Question) (*Answer, bool) {
	names, ok := k.Outputs(digest)
	if !ok {
		return nil, false
	}
	wanted := q.Outputs
	if len(wanted) == 0 {
		wanted = names
	}
	a := &Answer{Outputs: names, Hosts: map[string]Host{}, Failed: map[string]error{}}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			continue
		}
		t := k.trees[name]
		if !t.current(digest) || q.Build && !t.Built {
			return nil, false
		}
		a.Hosts[name] = t.Host
	}
	return a, true
}
