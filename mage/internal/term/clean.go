package term

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxClean bounds what Clean gives, in characters. Longer text ends with "…".
const maxClean = 4096

// maxBody bounds where the end of an operating system command is looked for, in
// bytes, so that a thousand of them without an end take no time.
const maxBody = 4096

// Clean makes a piece of text from elsewhere harmless and fit for one line:
// escape sequences vanish, a tab is a blank, and every other character that
// does not show itself (control characters, line breaks, changes of the writing
// direction, what is not UTF-8) is written as an escape such as \x07 or \u202e.
// Cleaning twice changes nothing.
func Clean(s string) string { return clean(s, maxClean) }

// CleanAll is Clean for text of any length.
func CleanAll(s string) string { return clean(s, math.MaxInt) }

func clean(s string, most int) string {
	var b strings.Builder
	count := 0
	for s != "" {
		if n := escapeSequence(s); n > 0 {
			s = s[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		piece := show(r, s[:n])
		if count += utf8.RuneCountInString(piece); count > most {
			return cutRunes(b.String(), most-1) + "…"
		}
		b.WriteString(piece)
		s = s[n:]
	}
	return b.String()
}

// cleanLines cleans a text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Clean(strings.TrimSuffix(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// show writes one character, which raw holds, so that it does nothing.
func show(r rune, raw string) string {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Sprintf(`\x%02x`, raw[0])
	case r == '\t':
		return " "
	case harmless(r):
		return raw
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	case r > 0xffff:
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// harmless characters show themselves. The two joiners do not, but several
// scripts and many emoji need them.
func harmless(r rune) bool {
	return unicode.IsGraphic(r) || r == '\u200c' || r == '\u200d'
}

// escapeSequence gives the length of the sequence that s begins with, or 0. An
// operating system command, or another string, that does not end is only its
// introducer: it must not hide the rest of a line.
func escapeSequence(s string) int {
	kind, n := introducer(s)
	switch kind {
	case 0:
		return 0
	case '[':
		return n + controlSequence(s[n:])
	case ']', 'P', 'X', '^', '_':
		return n + stringBody(s[n:])
	}
	return n
}

// introducer recognises ESC and what follows it, and the C1 characters that
// mean the same. The kind is the byte that follows ESC.
func introducer(s string) (kind byte, n int) {
	if s[0] == '\x1b' {
		n = 1
		for n < len(s) && s[n] >= ' ' && s[n] <= '/' {
			n++ // intermediate bytes, as in "ESC ( B"
		}
		if n == len(s) || s[n] < '0' || s[n] > '~' {
			return 1, n
		}
		return s[n], n + 1
	}
	if len(s) > 1 && s[0] == 0xc2 && strings.IndexByte("\x90\x98\x9b\x9d\x9e\x9f", s[1]) >= 0 {
		return s[1] - 0x40, 2
	}
	return 0, 0
}

// controlSequence gives the length of the parameters and the final byte.
func controlSequence(s string) int {
	n := 0
	for n < len(s) && s[n] >= ' ' && s[n] <= '?' {
		n++
	}
	if n < len(s) && s[n] >= '@' && s[n] <= '~' {
		return n + 1
	}
	return n
}

// stringBody gives the length up to the terminator (BEL, ESC \ or its C1 form)
// and with it, or 0 if there is none in reach.
func stringBody(s string) int {
	for i := 0; i < min(len(s), maxBody); i++ {
		switch {
		case s[i] == '\a':
			return i + 1
		case strings.HasPrefix(s[i:], "\x1b\\"), strings.HasPrefix(s[i:], "\u009c"):
			return i + 2
		case s[i] == '\x1b':
			return 0
		}
	}
	return 0
}

func cutRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
