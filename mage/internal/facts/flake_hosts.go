package facts

// hostNodes finds the entries of nixosConfigurations: each a name and the
// expression that describes the host.
func (l *loader) hostNodes() ([]nixBind, error) {
	var hosts []nixBind
	named := &nixNode{kind: nixAttrs} // nixosConfigurations.web = …; nixosConfigurations.web.config = …;
	for _, b := range findBinds(l.outputs(), "nixosConfigurations") {
		if len(b.path) > 1 {
			named.binds = append(named.binds, nixBind{b.path[1:], b.value})
			continue
		}
		more, err := l.entries(b.value)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, more...)
	}
	more, err := l.plainEntries(named)
	if err != nil {
		return nil, err
	}
	hosts = append(hosts, more...)
	if len(hosts) == 0 {
		return nil, flakeErrorf(flakeFile, 0, "no nixosConfigurations are found in it")
	}
	return hosts, nil
}

// entries takes the value of nixosConfigurations apart.
func (l *loader) entries(n *nixNode) ([]nixBind, error) {
	set := n
	if n.kind == nixApply && len(n.items) == 3 && n.items[0].kind == nixSelect &&
		n.items[0].path[len(n.items[0].path)-1] == "mapAttrs" {
		set = n.items[2]
	}
	if set.kind == nixSelect && len(set.path) == 1 {
		if found := findBinds(l.outputs(), set.path[0]); len(found) == 1 && len(found[0].path) == 1 {
			set = found[0].value
		}
	}
	if set.kind != nixAttrs {
		return nil, flakeErrorf(flakeFile, n.line, "nixosConfigurations is neither a plain set nor mapAttrs of a function over one")
	}
	return l.plainEntries(set)
}

func (l *loader) plainEntries(set *nixNode) ([]nixBind, error) {
	var hosts []nixBind
	seen := map[string]bool{}
	for _, b := range set.binds {
		name := b.path[0]
		switch {
		case name == "":
			return nil, flakeErrorf(flakeFile, b.value.line, "a host has a name that is computed")
		case len(b.path) == 1:
			hosts = append(hosts, b)
		case !seen[name]: // web.system = …; web.modules = …;
			hosts = append(hosts, nixBind{b.path[:1], together(set, name)})
		}
		seen[name] = true
	}
	return hosts, nil
}

// together makes one set of "web.system = …; web.modules = …;".
func together(set *nixNode, name string) *nixNode {
	n := &nixNode{kind: nixAttrs, line: set.line}
	for _, b := range set.binds {
		if len(b.path) > 1 && b.path[0] == name {
			n.binds = append(n.binds, nixBind{b.path[1:], b.value})
		}
	}
	return n
}

// findBinds looks through an expression for what is bound to a name, whether in
// a set or by let.
func findBinds(n *nixNode, name string) []nixBind {
	var found []nixBind
	for _, b := range n.binds {
		if b.path[0] == name {
			found = append(found, b)
		}
	}
	for _, child := range n.children() {
		found = append(found, findBinds(child, name)...)
	}
	return found
}
