package facts

// bindings reads "path = value;" and "inherit …;" up to the given end.
func (p *parser) bindings(end string) ([]nixBind, error) {
	var binds []nixBind
	for !p.accept(end) {
		more, err := p.binding()
		if err != nil {
			return nil, err
		}
		binds = append(binds, more...)
	}
	return binds, nil
}

func (p *parser) binding() ([]nixBind, error) {
	if p.accept("inherit") {
		return p.inherit()
	}
	path := []string{}
	for {
		step, err := p.step()
		if err != nil {
			return nil, err
		}
		if path = append(path, step); !p.accept(".") {
			break
		}
	}
	if err := p.expect("="); err != nil {
		return nil, err
	}
	value, err := p.expr()
	if err != nil {
		return nil, err
	}
	return []nixBind{{path, value}}, p.expect(";")
}

// inherit reads "inherit a b;" as "a = a; b = b;". Out of a set, "inherit (s) a;",
// the values are not known here.
func (p *parser) inherit() ([]nixBind, error) {
	known := true
	if p.accept("(") {
		known = false
		if _, err := p.parens(); err != nil {
			return nil, err
		}
	}
	var binds []nixBind
	for !p.accept(";") {
		line := p.peek().line
		name, err := p.step()
		if err != nil {
			return nil, err
		}
		value := &nixNode{kind: nixOther, line: line}
		if known {
			value = &nixNode{kind: nixSelect, line: line, path: []string{name}}
		}
		binds = append(binds, nixBind{[]string{name}, value})
	}
	return binds, nil
}

// step reads one part of an attribute path; a computed one is "".
func (p *parser) step() (string, error) {
	t := p.next()
	switch {
	case t.kind == tokenName, t.kind == tokenString:
		return t.text, nil
	case t.kind == tokenOpaque:
		return "", nil
	case t.kind == tokenSign && t.text == "${":
		if _, err := p.expr(); err != nil {
			return "", err
		}
		return "", p.expect("}")
	}
	return "", p.unexpected(t)
}
