package tree

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The limits of a path, in bytes: a name is bounded by Linux, a whole path by
// macOS.
const (
	maxName = 255
	maxPath = 1024
)

// checkPath gives the reason why p cannot be a path of a tree, or "".
func checkPath(p string) string {
	switch {
	case p == "":
		return "the path is empty"
	case len(p) > maxPath:
		return "the path is longer than 1024 bytes"
	case p[0] == '/':
		return "the path is absolute"
	case path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../"):
		return "the path is not a clean path inside the tree"
	case strings.Contains(p, `\`):
		return "the name holds a backslash"
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > maxName {
			return "the name is longer than 255 bytes"
		}
	}
	return checkText(p)
}

// checkText refuses what a line of the manifest cannot carry, for names and for
// the targets of links.
func checkText(s string) string {
	if !utf8.ValidString(s) {
		return "the name is not UTF-8"
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "the name holds a control character or a line break"
	}
	return ""
}

// parents yields the folders above p, the deepest first: for a/b/c it is a/b
// and a.
func parents(p string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(p, '/'); i > 0; i = strings.LastIndexByte(p[:i], '/') {
			if !yield(p[:i]) {
				return
			}
		}
	}
}

// fold maps names that a file system of macOS takes for the same to one text.
func fold(p string) string {
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(p)))
}

// caseCollision finds two paths, or folders on their way, that differ only in
// case or in the way that accents are written.
func caseCollision(entries []Entry) (a, b string, found bool) {
	seen := make(map[string]string)
	meets := func(p string) bool {
		key := fold(p)
		a, found = seen[key]
		if !found {
			seen[key] = p
		}
		b = p
		return found && a != b
	}
	for _, e := range entries {
		if meets(e.Path) {
			return a, b, true
		}
		for dir := range parents(e.Path) {
			if meets(dir) {
				return a, b, true
			}
		}
	}
	return "", "", false
}
