package facts

import (
	"slices"
	"strconv"
	"strings"
)

// value is the definition of an option that counts, with what it refers to
// followed: its node is text, a number, a list or a lone name. ok is false when
// nothing defines it.
func (ms modules) value(path ...string) (definition, bool, error) {
	defs, err := ms.below(path...)
	if err != nil {
		return definition{}, false, err
	}
	defs = strongest(defs)
	if len(defs) == 0 {
		return definition{}, false, nil
	}
	d := defs[0]
	if len(defs) > 1 {
		return d, false, d.errorf("is defined again at %s:%d", defs[1].mod.file, defs[1].value.line)
	}
	d, err = ms.resolve(d)
	return d, true, err
}

func strongest(defs []definition) []definition {
	rank := rankOption
	for _, d := range defs {
		rank = min(rank, d.rank)
	}
	return slices.DeleteFunc(slices.Clone(defs), func(d definition) bool { return d.rank > rank })
}

// resolve follows a reference to another option, or to a name that let binds.
func (ms modules) resolve(d definition) (definition, error) {
	return ms.resolveFrom(d, 0)
}

func (ms modules) resolveFrom(d definition, depth int) (definition, error) {
	n := d.value
	switch {
	case depth > 20:
		return d, d.errorf("refers to itself")
	case n.kind == nixText, n.kind == nixNumber, n.kind == nixList:
		return d, nil
	case n.kind != nixSelect:
		return d, d.errorf("is not a plain value")
	case len(n.path) > 1 && n.path[0] == "config":
		return ms.reference(d, n.path[1:], depth)
	case d.mod.names[n.path[0]] != nil:
		return ms.bound(d, n, depth)
	case len(n.path) == 1:
		return d, nil
	}
	return d, d.errorf("is %s, which is not known here", strings.Join(n.path, "."))
}

// reference follows config.a.b to the definition of a.b.
func (ms modules) reference(d definition, path []string, depth int) (definition, error) {
	defs, err := ms.below(path...)
	if err != nil {
		return d, err
	}
	if name, ok := userName(path); ok && len(defs) == 0 {
		d.value = &nixNode{kind: nixText, line: d.value.line, text: name}
		return d, nil
	}
	if defs = strongest(defs); len(defs) != 1 || !slices.Equal(defs[0].path, path) {
		return d, d.errorf("is config.%s, which has no single value here", strings.Join(path, "."))
	}
	return ms.resolveFrom(defs[0], depth+1)
}

// userName is the name of the user in users.users.NAME.name, an option that
// hardly anybody defines and that secrets like to refer to.
func userName(path []string) (string, bool) {
	if len(path) == 4 && path[0] == "users" && path[1] == "users" && path[3] == "name" {
		return path[2], true
	}
	return "", false
}

// bound follows a name that let binds: to its value, or to the option below the
// part of config that it stands for.
func (ms modules) bound(d definition, n *nixNode, depth int) (definition, error) {
	to := d.mod.names[n.path[0]]
	switch {
	case to.kind == nixSelect:
		to = &nixNode{kind: nixSelect, line: n.line, path: slices.Concat(to.path, n.path[1:])}
	case len(n.path) > 1:
		return d, d.errorf("is %s, which is not known here", strings.Join(n.path, "."))
	}
	d.value = to
	return ms.resolveFrom(d, depth+1)
}

// text is the value of an option that is a string; "" when nothing defines it.
func (ms modules) text(path ...string) (string, error) {
	d, ok, err := ms.value(path...)
	if err != nil || !ok {
		return "", err
	}
	return d.text()
}

func (d definition) text() (string, error) {
	switch n := d.value; {
	case n.kind == nixText:
		return n.text, nil
	case n.kind == nixSelect && n.path[0] == "null":
		return "", nil
	}
	return "", d.errorf("is not a plain string")
}

func (d definition) truth() (bool, error) {
	if n := d.value; n.kind == nixSelect && len(n.path) == 1 {
		switch n.path[0] {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, d.errorf("is neither true nor false")
}

func (d definition) number() (int, error) {
	if d.value.kind == nixNumber {
		if i, err := strconv.Atoi(d.value.text); err == nil {
			return i, nil
		}
	}
	return 0, d.errorf("is not a whole number")
}
