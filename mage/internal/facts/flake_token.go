package facts

import "strings"

// tokenKind tells the tokens of a Nix file apart.
type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenName             // identifiers and keywords
	tokenNumber           // 2222, 1.5
	tokenString           // "…"; text is its value
	tokenPath             // ./modules/disk.nix
	tokenOpaque           // a string or path that holds ${…} or is of the '' kind: a value unknown here
	tokenSign             // punctuation and operators
)

type token struct {
	kind tokenKind
	text string
	line int
}

const (
	nixFileSize = 1 << 20 // far above any file that a person writes
	nixDepth    = 100     // nesting of brackets and of strings in strings
)

// scanner cuts a Nix file into tokens.
type scanner struct {
	file  string
	src   string
	pos   int
	line  int
	depth int
}

// tokenize gives all tokens of a file, with a tokenEnd last.
func tokenize(file string, src []byte) ([]token, error) {
	if len(src) > nixFileSize {
		return nil, flakeErrorf(file, 0, "it has more than 1 MB, too much for a person's Nix file")
	}
	s := &scanner{file: file, src: string(src), line: 1}
	var tokens []token
	for {
		t, err := s.next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if t.kind == tokenEnd {
			return tokens, nil
		}
	}
}

func (s *scanner) errorf(format string, args ...any) error {
	return flakeErrorf(s.file, s.line, format, args...)
}

// peek is the byte at an offset, or 0 behind the end.
func (s *scanner) peek(offset int) byte {
	if s.pos+offset < len(s.src) {
		return s.src[s.pos+offset]
	}
	return 0
}

func (s *scanner) has(prefix string) bool { return strings.HasPrefix(s.src[s.pos:], prefix) }

// take moves on by n bytes and returns them.
func (s *scanner) take(n int) string {
	text := s.src[s.pos:min(s.pos+n, len(s.src))]
	s.line += strings.Count(text, "\n")
	s.pos += len(text)
	return text
}

func (s *scanner) takeWhile(ok func(byte) bool) string {
	n := 0
	for s.pos+n < len(s.src) && ok(s.src[s.pos+n]) {
		n++
	}
	return s.take(n)
}

func (s *scanner) next() (token, error) {
	if err := s.skipSpace(); err != nil {
		return token{}, err
	}
	line, c := s.line, s.peek(0)
	switch {
	case s.pos >= len(s.src):
		return token{tokenEnd, "", line}, nil
	case c == '"':
		return s.str()
	case s.has("''"):
		return s.indented()
	case s.atPath():
		return s.path()
	case letter(c):
		return token{tokenName, s.takeWhile(nameByte), line}, nil
	case digit(c):
		return token{tokenNumber, s.takeWhile(numberByte), line}, nil
	}
	return token{tokenSign, s.sign(), line}, nil
}

// skipSpace passes over white space and both kinds of comments.
func (s *scanner) skipSpace() error {
	for {
		s.takeWhile(func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' })
		switch {
		case s.peek(0) == '#':
			s.takeWhile(func(c byte) bool { return c != '\n' })
		case s.has("/*"):
			end := strings.Index(s.src[s.pos+2:], "*/")
			if end < 0 {
				return s.errorf("a comment that starts here has no end")
			}
			s.take(end + 4)
		default:
			return nil
		}
	}
}

// sign takes the longest operator or punctuation.
func (s *scanner) sign() string {
	for _, op := range []string{"...", "${", "//", "++", "==", "!=", "<=", ">=", "&&", "||", "->", "|>", "<|"} {
		if s.has(op) {
			return s.take(len(op))
		}
	}
	return s.take(1)
}

func letter(c byte) bool     { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func digit(c byte) bool      { return c >= '0' && c <= '9' }
func nameByte(c byte) bool   { return letter(c) || digit(c) || c == '-' || c == '\'' }
func numberByte(c byte) bool { return digit(c) || c == '.' }
func pathByte(c byte) bool   { return letter(c) || digit(c) || strings.IndexByte("-._+/", c) >= 0 }
