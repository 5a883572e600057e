package bootstrap

import (
	"slices"
	"strings"
	"unicode"
)

const (
	// installerLineMax is what is kept of a line, in bytes.
	installerLineMax = 4 << 10
	// secretMin is the length from which a line of a secret is worth hiding:
	// the shorter ones are words that any text has.
	secretMin = 12
	hidden    = "[secret]"
)

// redactor hides secrets, line by line: a private key is printed as several.
type redactor struct {
	parts   []string
	longest int
}

func newRedactor(secrets []string) redactor {
	var r redactor
	for _, secret := range secrets {
		for line := range strings.Lines(secret) {
			line = strings.TrimSpace(line)
			if len(line) >= secretMin && !strings.HasPrefix(line, "-----") && !strings.HasPrefix(line, "#") {
				r.parts = append(r.parts, line)
				r.longest = max(r.longest, len(line))
			}
		}
	}
	// A secret that is a part of another must not leave the rest of it.
	slices.SortFunc(r.parts, func(a, b string) int { return len(b) - len(a) })
	return r
}

func (r redactor) redact(text string) string {
	for _, part := range r.parts {
		text = strings.ReplaceAll(text, part, hidden)
	}
	return text
}

// clean makes a foreign line safe to show: no colours, no cursor movements, no
// invisible characters, no secrets, not too long.
func (r redactor) clean(line []byte) string {
	text := r.redact(strings.Map(printable, withoutEscapes(strings.ToValidUTF8(string(line), "\uFFFD"))))
	if len(text) > installerLineMax {
		text = strings.ToValidUTF8(text[:installerLineMax], "") + "…"
	}
	return strings.TrimRight(text, " ")
}

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}

// withoutEscapes drops terminal escape sequences; printable alone would leave
// their letters.
func withoutEscapes(text string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "\x1b")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		text = skipEscape(after)
	}
}

// skipEscape gives what follows a sequence whose ESC is already gone.
func skipEscape(text string) string {
	switch {
	case strings.HasPrefix(text, "["): // CSI: parameters, then one letter
		end := strings.IndexFunc(text[1:], func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			return ""
		}
		return text[1+end+1:]
	case strings.HasPrefix(text, "]"): // OSC: ends with BEL, or with ESC \
		if end := strings.IndexByte(text, '\a'); end >= 0 {
			return text[end+1:]
		}
		if end := strings.Index(text, "\x1b\\"); end >= 0 {
			return text[end+2:]
		}
		return ""
	}
	return text
}

// lineSplitter is an io.Writer that calls each for every line, in bounded
// memory: of a longer line it keeps the beginning.
type lineSplitter struct {
	keep int // bytes of a line
	each func(line []byte)
	line []byte
}

// Write never fails.
func (s *lineSplitter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		end := slices.IndexFunc(rest, func(b byte) bool { return b == '\n' || b == '\r' })
		part := rest
		if end >= 0 {
			part = rest[:end]
		}
		s.line = append(s.line, part[:min(len(part), s.keep-len(s.line))]...)
		if end < 0 {
			break
		}
		s.flush()
		rest = rest[end+1:]
	}
	return len(p), nil
}

// flush ends the line. Empty ones say nothing, and \r\n makes them.
func (s *lineSplitter) flush() {
	if len(s.line) > 0 {
		s.each(s.line)
		s.line = s.line[:0]
	}
}
