package remote

import (
	"regexp"
	"strings"
	"unicode"
)

// maxErrorText bounds, in bytes, what a server can put into one of our errors.
const maxErrorText = 400

// escapes matches terminal control sequences: OSC and other strings with their
// terminator, CSI sequences, and two-byte escapes.
var escapes = regexp.MustCompile(`\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[ -/]*[0-~]?`)

// printable makes text of a server safe for a terminal and for one line: escape
// sequences and control characters go, white space collapses, and what is longer
// than limit bytes is cut with an ellipsis.
func printable(s string, limit int) string {
	if len(s) > 4*limit {
		s = s[:4*limit]
	}
	s = escapes.ReplaceAllString(strings.ToValidUTF8(s, "?"), "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// lastLine returns the last line of s that says something.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return printable(lines[len(lines)-1], maxErrorText)
}

// Quote makes s one word of a POSIX shell, whatever it contains. A NUL byte
// cannot be part of an argument and is left out.
func Quote(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
