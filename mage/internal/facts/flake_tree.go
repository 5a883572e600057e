package facts

import (
	"path"
	"slices"
	"strings"
)

// flakeFile is where a flake begins.
const flakeFile = "flake.nix"

// ourModules are read even if flake.nix names them in a way not seen here.
var ourModules = []string{"modules/disk.nix", "modules/security.nix", "modules/sops.nix", "modules/system.nix"}

// loader gathers the modules of a tree.
type loader struct {
	read func(path string) ([]byte, bool)
	root *nixNode // of flake.nix
}

type flakeTree struct {
	hosts []flakeHost
}

// FlakeInputs gives the names of the inputs in the text of a flake.nix, sorted.
func FlakeInputs(data []byte) ([]string, error) {
	root, err := parseNix(flakeFile, data)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, b := range root.binds {
		switch {
		case b.path[0] != "inputs":
		case len(b.path) > 1:
			names[b.path[1]] = true
		case b.value.kind != nixAttrs:
			return nil, flakeErrorf(flakeFile, b.value.line, "inputs is not a plain set")
		default:
			for _, input := range b.value.binds {
				names[input.path[0]] = true
			}
		}
	}
	return sortedKeys(names), nil
}

func loadFlake(read func(string) ([]byte, bool)) (*flakeTree, error) {
	src, ok := read(flakeFile)
	if !ok {
		return nil, flakeErrorf(flakeFile, 0, "the tree has no such file")
	}
	root, err := parseNix(flakeFile, src)
	if err != nil {
		return nil, err
	}
	l := &loader{read: read, root: root}
	hosts, err := l.hostNodes()
	if err != nil {
		return nil, err
	}
	return l.tree(hosts)
}

// tree gives each host the modules of all, and those in its own entry.
func (l *loader) tree(hosts []nixBind) (*flakeTree, error) {
	var entries []*nixNode
	for _, h := range hosts {
		entries = append(entries, h.value)
		for _, b := range h.value.binds {
			entries = append(entries, b.value)
		}
	}
	shared, err := l.modulesIn(l.outputs(), entries)
	if err != nil {
		return nil, err
	}
	if shared, err = l.addOurs(shared); err != nil {
		return nil, err
	}
	t := &flakeTree{}
	for _, h := range hosts {
		own, err := l.modulesIn(h.value, nil)
		if err != nil {
			return nil, err
		}
		t.hosts = append(t.hosts, flakeHost{h.path[0], slices.Concat(shared, own)})
	}
	return t, nil
}

func (l *loader) outputs() *nixNode {
	for _, b := range l.root.binds {
		if len(b.path) == 1 && b.path[0] == "outputs" {
			return b.value
		}
	}
	return l.root
}

// modulesIn finds what stands in lists below a node as modules do: paths and
// sets. It stays out of the given nodes, and out of the modules themselves.
func (l *loader) modulesIn(n *nixNode, except []*nixNode) (modules, error) {
	var found modules
	var walk func(*nixNode) error
	walk = func(n *nixNode) error {
		if slices.Contains(except, n) {
			return nil
		}
		for _, child := range n.children() {
			more, err := modules(nil), error(nil)
			switch {
			case n.kind == nixList && child.kind == nixPath:
				more, err = l.file(child.text, flakeFile, child.line, 0)
			case n.kind == nixList && moduleLike(child):
				more = modules{newModule(flakeFile, child)}
			default:
				err = walk(child)
			}
			if err != nil {
				return err
			}
			found = append(found, more...)
		}
		return nil
	}
	return found, walk(n)
}

func moduleLike(n *nixNode) bool { return n.kind == nixAttrs || n.kind == nixLambda }

// children are the expressions that a node consists of.
func (n *nixNode) children() []*nixNode {
	children := slices.Clone(n.items)
	for _, b := range n.binds {
		children = append(children, b.value)
	}
	return children
}

// file reads the module at a path that a file names, and its imports.
func (l *loader) file(name, from string, line, depth int) (modules, error) {
	at := path.Join(path.Dir(from), name)
	if strings.HasPrefix(at, "../") || path.IsAbs(name) {
		return nil, flakeErrorf(from, line, "%s lies outside of the tree", name)
	}
	src, ok := l.read(at)
	if !ok && !strings.HasSuffix(at, ".nix") {
		at = path.Join(at, "default.nix")
		src, ok = l.read(at)
	}
	switch {
	case !ok:
		return nil, flakeErrorf(from, line, "it names %s, which the tree does not have", name)
	case depth > 20:
		return nil, flakeErrorf(from, line, "modules import one another in a circle")
	}
	root, err := parseNix(at, src)
	if err != nil {
		return nil, err
	}
	m := newModule(at, root)
	found := modules{m}
	for _, n := range m.imports {
		if n.kind != nixPath {
			continue // out of an input, such as modulesPath
		}
		more, err := l.file(n.text, at, n.line, depth+1)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// addOurs adds those of our modules that are in the tree and not yet known.
func (l *loader) addOurs(known modules) (modules, error) {
	for _, name := range ourModules {
		if slices.ContainsFunc(known, func(m *nixModule) bool { return m.file == name }) {
			continue
		}
		if _, ok := l.read(name); !ok {
			continue
		}
		more, err := l.file(name, flakeFile, 0, 0)
		if err != nil {
			return nil, err
		}
		known = append(known, more...)
	}
	return known, nil
}
