package facts

import (
	"slices"
	"strings"
)

// definition is one value that a module gives to an option, or an option's
// default.
type definition struct {
	path  []string // of the option
	value *nixNode
	mod   *nixModule
	rank  int // the lowest counts: mkForce 50, plain 100, mkDefault 1000, an option's default 1500
}

// The ranks that NixOS gives to definitions.
const (
	rankForce   = 50
	rankPlain   = 100
	rankDefault = 1000
	rankOption  = 1500
)

// nixModule is one module: a file, or a set in flake.nix.
type nixModule struct {
	file    string
	names   map[string]*nixNode // what let binds
	defs    []definition
	imports []*nixNode
}

// newModule takes a module apart. An expression that is no module, such as a
// function that returns something computed, gives one without definitions.
func newModule(file string, n *nixNode) *nixModule {
	m := &nixModule{file: file, names: map[string]*nixNode{}}
	n = m.body(n)
	if n.kind != nixAttrs {
		return m
	}
	whole := slices.ContainsFunc(n.binds, func(b nixBind) bool {
		return b.path[0] == "config" || b.path[0] == "options"
	})
	for _, b := range n.binds {
		switch {
		case b.path[0] == "imports":
			m.imports = append(m.imports, b.value.items...)
		case b.path[0] == "options":
			m.flatten(b.path[1:], b.value, rankOption)
		case b.path[0] == "config":
			m.flatten(b.path[1:], b.value, rankPlain)
		case !whole:
			m.flatten(b.path, b.value, rankPlain)
		}
	}
	return m
}

// body looks through functions and let to what they are about.
func (m *nixModule) body(n *nixNode) *nixNode {
	for n.kind == nixLambda || n.kind == nixLet {
		for _, b := range n.binds {
			if len(b.path) == 1 {
				m.names[b.path[0]] = b.value
			}
		}
		n = n.items[0]
	}
	return n
}

// flatten turns nested sets into one definition for each value. Where it meets
// something computed, that stands for all that may lie below it.
func (m *nixModule) flatten(path []string, n *nixNode, rank int) {
	n, rank = m.unwrap(n, rank)
	if n.kind != nixAttrs || len(n.binds) == 0 || slices.Contains(path, "") {
		m.defs = append(m.defs, definition{path, n, m, rank})
		return
	}
	for _, b := range n.binds {
		m.flatten(slices.Concat(path, b.path), b.value, rank)
	}
}

// unwrap takes mkForce, mkDefault and mkOption off a value.
func (m *nixModule) unwrap(n *nixNode, rank int) (*nixNode, int) {
	if n.kind != nixApply || len(n.items) != 2 || n.items[0].kind != nixSelect {
		return n, rank
	}
	switch path := n.items[0].path; path[len(path)-1] {
	case "mkForce":
		return n.items[1], rankForce
	case "mkDefault":
		return n.items[1], rankDefault
	case "mkOption":
		if n.items[1].kind == nixAttrs {
			return optionDefault(n.items[1]), rank
		}
	}
	return n, rank
}

// optionDefault is the default in the argument of mkOption.
func optionDefault(option *nixNode) *nixNode {
	for _, b := range option.binds {
		if len(b.path) == 1 && b.path[0] == "default" {
			return b.value
		}
	}
	return &nixNode{kind: nixOther, line: option.line}
}

// errorf is about a definition.
func (d definition) errorf(format string, args ...any) error {
	return flakeErrorf(d.mod.file, d.value.line, strings.Join(d.path, ".")+" "+format, args...)
}

// modules is all that one host is made of.
type modules []*nixModule

// below gives the definitions of an option and of all options under it. It
// refuses where something computed may define one of them.
func (ms modules) below(path ...string) ([]definition, error) {
	var found []definition
	for _, m := range ms {
		for _, d := range m.defs {
			switch {
			case d.mayBe(path):
				return nil, d.errorf("has a name that is computed")
			case hasPrefix(d.path, path):
				found = append(found, d)
			case d.covers(path):
				return nil, d.errorf("is computed, and may define %s", strings.Join(path, "."))
			}
		}
	}
	return found, nil
}

// covers says whether the definition is of something above an option, and may
// define that option too.
func (d definition) covers(path []string) bool {
	return hasPrefix(path, d.path) && len(path) > len(d.path) && !unrelated(d.value, path[len(d.path):])
}

// mayBe says whether a definition whose name is partly computed may turn out to
// be of an option, or of one under it.
func (d definition) mayBe(path []string) bool {
	computed := slices.Index(d.path, "")
	if computed < 0 {
		return false
	}
	return hasPrefix(path, d.path[:computed]) || hasPrefix(d.path[:computed], path)
}

func hasPrefix(path, prefix []string) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

// unrelated says whether a value cannot define the option at a path below it:
// it is no set, or it is mkIf or mkMerge of sets that do not name it.
func unrelated(n *nixNode, path []string) bool {
	switch n.kind {
	case nixText, nixNumber, nixPath, nixList:
		return true
	case nixAttrs:
		if len(n.binds) == 0 {
			return true
		}
		probe := &nixModule{}
		probe.flatten(nil, n, rankPlain)
		return !slices.ContainsFunc(probe.defs, func(d definition) bool {
			return d.mayBe(path) || hasPrefix(d.path, path) || d.covers(path)
		})
	case nixApply:
		return unrelatedCall(n, path)
	}
	return n.kind == nixSelect && len(n.path) == 1 && slices.Contains([]string{"null", "true", "false"}, n.path[0])
}

func unrelatedCall(n *nixNode, path []string) bool {
	last := n.items[len(n.items)-1]
	if n.items[0].kind != nixSelect {
		return false
	}
	switch name := n.items[0].path; name[len(name)-1] {
	case "mkIf", "mkForce", "mkDefault":
		return unrelated(last, path)
	case "mkMerge":
		return last.kind == nixList && !slices.ContainsFunc(last.items, func(item *nixNode) bool {
			return !unrelated(item, path)
		})
	case "mkOption", "mkEnableOption", "mkPackageOption":
		return true
	}
	return false
}
