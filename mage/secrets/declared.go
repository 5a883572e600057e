package secrets

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Declared is a secret that the NixOS configuration asks for.
type Declared struct {
	Name           string // as sops.secrets names it
	Key            string // what it is called in secrets.yaml, slashes between levels; empty: Name
	Path           string // where the server has it
	Owner          string // user whose file it is; empty: root
	Mode           string // octal; empty: 0400
	NeededForUsers bool   // there before users are made, and always root's
}

// path is where secrets.yaml has it. sops-nix separates levels by slashes.
func (d Declared) path() []string {
	key := d.Key
	if key == "" {
		key = d.Name
	}
	return strings.Split(key, "/")
}

// Readers says in words who may read the secret on the server.
func (d Declared) Readers() string {
	owner := d.Owner
	if owner == "" || d.NeededForUsers {
		owner = "root"
	}
	mode, err := strconv.ParseUint(d.Mode, 8, 32)
	if d.Mode == "" {
		mode, err = 0o400, nil
	}
	switch {
	case err != nil:
		return fmt.Sprintf("%s, mode %s", owner, d.Mode)
	case mode&0o004 != 0:
		return "every user"
	case mode&0o040 != 0:
		return owner + " and its group"
	}
	return owner
}

// Listed is a name, in the file or declared or both.
type Listed struct {
	Name     string `json:"name"`
	Present  bool   `json:"present"`           // in secrets.yaml
	Declared bool   `json:"declared"`          // in nix/
	Readers  string `json:"readers,omitempty"` // on the server
	Path     string `json:"path,omitempty"`    // on the server
}

// List puts the names of secrets.yaml beside the declared ones. It needs no key
// and shows no value.
func List(dir string, declared []Declared) ([]Listed, error) {
	present, err := Names(dir)
	if err != nil {
		return nil, err
	}
	var out []Listed
	for _, name := range present {
		entry := Listed{Name: name, Present: true}
		for _, d := range declared {
			if covers(d, name) {
				entry.Declared, entry.Readers, entry.Path = true, d.Readers(), d.Path
			}
		}
		out = append(out, entry)
	}
	for _, d := range declared {
		if !slices.ContainsFunc(present, func(name string) bool { return covers(d, name) }) {
			out = append(out, Listed{Name: formatName(d.path()), Declared: true, Readers: d.Readers(), Path: d.Path})
		}
	}
	return out, nil
}

// covers reports whether a declared secret is the one of this name, or the map
// or list around it.
func covers(d Declared, name string) bool {
	declared := formatName(d.path())
	return name == declared || strings.HasPrefix(name, declared+".")
}
