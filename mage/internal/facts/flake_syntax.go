package facts

import "slices"

// nixKind tells what an expression is, as far as this reader cares.
type nixKind int

const (
	nixOther  nixKind = iota // computed: operators, if, and what else is not needed
	nixAttrs                 // { a.b = …; }
	nixList                  // [ … ]
	nixText                  // "…" without ${…}
	nixNumber                // 2222
	nixPath                  // ./modules/disk.nix
	nixSelect                // config.vps.disk, or a lone name such as true
	nixLet                   // let binds in items[0]
	nixLambda                // a function with the body items[0]
	nixApply                 // items[0] called with the rest
)

// nixNode is an expression and where it stands.
type nixNode struct {
	kind  nixKind
	line  int
	text  string
	path  []string // of a nixSelect
	binds []nixBind
	items []*nixNode
}

// nixBind is one "path = value;". A path that is computed has "" where it is.
type nixBind struct {
	path  []string
	value *nixNode
}

// parser makes expressions of tokens. It is generous: it need not refuse what
// Nix would, as Nix will read the same file.
type parser struct {
	file   string
	tokens []token
	pos    int
	depth  int
}

// parseNix reads one file.
func parseNix(file string, src []byte) (*nixNode, error) {
	tokens, err := tokenize(file, src)
	if err != nil {
		return nil, err
	}
	p := &parser{file: file, tokens: tokens}
	n, err := p.expr()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokenEnd {
		return nil, p.unexpected(t)
	}
	return n, nil
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokenEnd {
		p.pos++
	}
	return t
}

func (p *parser) unexpected(t token) error {
	if t.kind == tokenEnd {
		return flakeErrorf(p.file, t.line, "the file ends in the middle of an expression")
	}
	return flakeErrorf(p.file, t.line, "%q is not expected here", t.text)
}

// at says whether the next token is this sign or keyword.
func (p *parser) at(text string) bool {
	t := p.peek()
	return (t.kind == tokenSign || t.kind == tokenName) && t.text == text
}

func (p *parser) accept(text string) bool {
	if p.at(text) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return p.unexpected(p.peek())
	}
	return nil
}

// expr reads an expression up to what cannot belong to it.
func (p *parser) expr() (*nixNode, error) {
	if p.depth++; p.depth > nixDepth {
		return nil, flakeErrorf(p.file, p.peek().line, "expressions are nested too deeply here")
	}
	defer func() { p.depth-- }()
	line := p.peek().line
	switch {
	case p.lambda():
		return p.wrap(nixLambda, line)
	case p.accept("let"):
		return p.let(line)
	case p.accept("with"), p.accept("assert"):
		if _, err := p.expr(); err != nil {
			return nil, err
		}
		if err := p.expect(";"); err != nil {
			return nil, err
		}
		return p.wrap(nixLambda, line)
	case p.accept("if"):
		return p.condition(line)
	}
	return p.operation(line)
}

// wrap reads the body of something that is looked through.
func (p *parser) wrap(kind nixKind, line int) (*nixNode, error) {
	body, err := p.expr()
	if err != nil {
		return nil, err
	}
	return &nixNode{kind: kind, line: line, items: []*nixNode{body}}, nil
}

func (p *parser) let(line int) (*nixNode, error) {
	binds, err := p.bindings("in")
	if err != nil {
		return nil, err
	}
	n, err := p.wrap(nixLet, line)
	if err != nil {
		return nil, err
	}
	n.binds = binds
	return n, nil
}

func (p *parser) condition(line int) (*nixNode, error) {
	n := &nixNode{kind: nixOther, line: line}
	for _, end := range []string{"then", "else", ""} {
		part, err := p.expr()
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, part)
		if end != "" {
			if err := p.expect(end); err != nil {
				return nil, err
			}
		}
	}
	return n, nil
}

// lambda passes over the head of a function, if there is one: "x:", "x@{…}:",
// "{…}:" or "{…}@x:".
func (p *parser) lambda() bool {
	at := p.pos
	if p.tokens[at].kind == tokenName && !slices.Contains(keywords, p.tokens[at].text) {
		at++
		if p.sign(at, "@") {
			at = p.closing(at + 1)
		}
	} else if p.sign(at, "{") {
		if at = p.closing(at); p.sign(at, "@") {
			at += 2
		}
	}
	if at == p.pos || !p.sign(at, ":") {
		return false
	}
	p.pos = at + 1
	return true
}

var keywords = []string{"let", "in", "if", "then", "else", "with", "assert", "rec", "inherit"}

func (p *parser) sign(at int, text string) bool {
	return at < len(p.tokens) && p.tokens[at].kind == tokenSign && p.tokens[at].text == text
}

// closing is the place behind the bracket that closes the one at a place.
func (p *parser) closing(at int) int {
	open := 0
	for i := at; i < len(p.tokens); i++ {
		switch {
		case p.sign(i, "{"), p.sign(i, "${"):
			open++
		case p.sign(i, "}"):
			open--
		}
		if open == 0 {
			return i + 1
		}
	}
	return at
}
