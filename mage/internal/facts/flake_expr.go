package facts

import "slices"

// operation reads terms next to one another (a call) and joined by operators
// (which are not computed).
func (p *parser) operation(line int) (*nixNode, error) {
	n := &nixNode{kind: nixApply, line: line}
	for {
		t := p.peek()
		switch {
		case p.ends(t):
			return p.operationEnd(n)
		case t.kind == tokenSign && !slices.Contains(openers, t.text):
			n.kind = nixOther
			p.pos++
			if p.startsExpr() {
				rest, err := p.expr()
				n.items = append(n.items, rest)
				return n, err
			}
		default:
			term, err := p.term()
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, term)
		}
	}
}

var openers = []string{"{", "[", "(", "${"}

// ends says whether a token ends an expression.
func (p *parser) ends(t token) bool {
	switch t.kind {
	case tokenEnd:
		return true
	case tokenSign:
		return slices.Contains([]string{";", ")", "]", "}", ",", "=", ":", "@"}, t.text)
	case tokenName:
		return slices.Contains([]string{"in", "then", "else"}, t.text)
	}
	return false
}

// startsExpr says whether what follows an operator reaches to the end of the
// expression, as a function or a condition does.
func (p *parser) startsExpr() bool {
	before := p.pos
	function := p.lambda()
	p.pos = before
	return function || p.at("let") || p.at("with") || p.at("if") || p.at("assert")
}

func (p *parser) operationEnd(n *nixNode) (*nixNode, error) {
	if len(n.items) == 0 {
		return nil, p.unexpected(p.peek())
	}
	if n.kind == nixApply && len(n.items) == 1 {
		return n.items[0], nil
	}
	return n, nil
}

// term reads one value with the attributes that are selected from it.
func (p *parser) term() (*nixNode, error) {
	n, err := p.atom()
	if err != nil {
		return nil, err
	}
	for p.accept(".") {
		step, err := p.step()
		if err != nil {
			return nil, err
		}
		if n.kind == nixSelect && step != "" {
			n.path = append(n.path, step)
		} else {
			n = &nixNode{kind: nixOther, line: n.line, items: []*nixNode{n}}
		}
	}
	return n, nil
}

func (p *parser) atom() (*nixNode, error) {
	t := p.next()
	n := &nixNode{line: t.line, text: t.text}
	switch {
	case t.kind == tokenString:
		n.kind = nixText
	case t.kind == tokenNumber:
		n.kind = nixNumber
	case t.kind == tokenPath:
		n.kind = nixPath
	case t.kind == tokenOpaque:
		n.kind = nixOther
	case t.kind == tokenSign && t.text == "{":
		return p.attrs(n)
	case t.kind == tokenSign && t.text == "[":
		return p.list(n)
	case t.kind == tokenSign && t.text == "(":
		return p.parens()
	case t.kind == tokenName && t.text == "rec":
		if err := p.expect("{"); err != nil {
			return nil, err
		}
		return p.attrs(n)
	case t.kind == tokenName && !slices.Contains(keywords, t.text):
		n.kind, n.path = nixSelect, []string{t.text}
	default:
		return nil, p.unexpected(t)
	}
	return n, nil
}

func (p *parser) parens() (*nixNode, error) {
	n, err := p.expr()
	if err != nil {
		return nil, err
	}
	return n, p.expect(")")
}

func (p *parser) list(n *nixNode) (*nixNode, error) {
	n.kind = nixList
	if p.depth++; p.depth > nixDepth {
		return nil, flakeErrorf(p.file, n.line, "lists are nested too deeply here")
	}
	defer func() { p.depth-- }()
	for !p.accept("]") {
		item, err := p.term()
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	return n, nil
}

func (p *parser) attrs(n *nixNode) (*nixNode, error) {
	n.kind = nixAttrs
	if p.depth++; p.depth > nixDepth {
		return nil, flakeErrorf(p.file, n.line, "sets are nested too deeply here")
	}
	defer func() { p.depth-- }()
	var err error
	n.binds, err = p.bindings("}")
	return n, err
}
