package facts

import "strings"

// str takes a string in double quotes.
func (s *scanner) str() (token, error) {
	t := token{tokenString, "", s.line}
	s.take(1)
	var text strings.Builder
	for {
		switch {
		case s.pos >= len(s.src):
			return t, flakeErrorf(s.file, t.line, "a string that starts here has no end")
		case s.peek(0) == '"':
			s.take(1)
			t.text = text.String()
			return t, nil
		case s.peek(0) == '\\':
			s.take(1)
			text.WriteString(unescape(s.take(1)))
		case s.has("$$"):
			text.WriteString(s.take(2))
		case s.has("${"):
			t.kind = tokenOpaque
			if err := s.interpolation(); err != nil {
				return t, err
			}
		default:
			text.WriteString(s.take(1))
		}
	}
}

func unescape(c string) string {
	switch c {
	case "n":
		return "\n"
	case "t":
		return "\t"
	case "r":
		return "\r"
	}
	return c
}

// indented takes a string between pairs of single quotes. Its value, which
// depends on its indentation, is not worked out.
func (s *scanner) indented() (token, error) {
	t := token{tokenOpaque, "", s.line}
	s.take(2)
	for {
		switch {
		case s.pos >= len(s.src):
			return t, flakeErrorf(s.file, t.line, "a string that starts here has no end")
		case s.has("'''"), s.has("''$"):
			s.take(3)
		case s.has(`''\`):
			s.take(4)
		case s.has("''"):
			s.take(2)
			return t, nil
		case s.has("$$"):
			s.take(2)
		case s.has("${"):
			if err := s.interpolation(); err != nil {
				return t, err
			}
		default:
			s.take(1)
		}
	}
}

// interpolation passes over ${…}, which may hold strings with more of them.
func (s *scanner) interpolation() error {
	if s.depth++; s.depth > nixDepth {
		return s.errorf("strings are nested too deeply here")
	}
	defer func() { s.depth-- }()
	start := s.line
	s.take(2)
	for open := 1; open > 0; {
		t, err := s.next()
		switch {
		case err != nil:
			return err
		case t.kind == tokenEnd:
			return flakeErrorf(s.file, start, "a ${ that starts here has no end")
		case t.kind == tokenSign && (t.text == "{" || t.text == "${"):
			open++
		case t.kind == tokenSign && t.text == "}":
			open--
		}
	}
	return nil
}

// atPath says whether a path starts here: ./a, ../a, ~/a, /a, a/b or <a>.
func (s *scanner) atPath() bool {
	n := 0
	switch {
	case s.peek(0) == '<':
		n = 1
		for pathByte(s.peek(n)) {
			n++
		}
		return n > 1 && s.peek(n) == '>'
	case s.has("../"):
		n = 2
	case s.has("./"), s.has("~/"):
		n = 1
	default:
		for nameByte(s.peek(n)) || n > 0 && s.peek(n) == '.' {
			n++
		}
	}
	return s.peek(n) == '/' && (pathByte(s.peek(n+1)) || s.peek(n+1) == '$') && s.peek(n+1) != '/'
}

func (s *scanner) path() (token, error) {
	t := token{tokenPath, "", s.line}
	if s.peek(0) == '<' {
		t.kind, t.text = tokenOpaque, s.takeWhile(func(c byte) bool { return c != '>' })
		s.take(1)
		return t, nil
	}
	if s.peek(0) == '~' {
		s.take(1)
	}
	for {
		t.text += s.takeWhile(pathByte)
		if !s.has("${") {
			return t, nil
		}
		t.kind = tokenOpaque
		if err := s.interpolation(); err != nil {
			return t, err
		}
	}
}
