package config

import (
	"errors"
	"strings"
)

const blanks = " \t\r\n\f"

// splitKeyword divides a line into its keyword, lower-case, and the rest. One
// equals sign may stand between them. Empty lines and comments have no keyword.
func splitKeyword(line string) (keyword, rest string) {
	line = strings.Trim(line, blanks)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	end := strings.IndexAny(line, blanks+"=")
	if end < 0 {
		return strings.ToLower(line), ""
	}
	rest = strings.TrimLeft(line[end:], blanks)
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), blanks)
	return strings.ToLower(line[:end]), rest
}

var errQuotes = errors.New("a quote is not closed")

// splitWords divides the arguments of a line: blanks separate, either quote
// keeps blanks, a backslash keeps a quote, a backslash or (outside quotes) a
// blank, and # at the beginning of a word starts a comment.
func splitWords(s string) ([]string, error) {
	var words []string
	for {
		s = strings.TrimLeft(s, blanks)
		if s == "" || s[0] == '#' {
			return words, nil
		}
		word, rest, err := cutWord(s)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
		s = rest
	}
}

func cutWord(s string) (word, rest string, err error) {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && escapes(s[i+1], quote):
			i++
			b.WriteByte(s[i])
		case quote == 0 && strings.IndexByte(blanks, c) >= 0:
			return b.String(), s[i:], nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", "", errQuotes
	}
	return b.String(), "", nil
}

// escapes reports whether a backslash before c is dropped. Elsewhere it is an
// ordinary character.
func escapes(c, quote byte) bool {
	return c == '"' || c == '\'' || c == '\\' || quote == 0 && c == ' '
}

// words divides the arguments of a keyword that needs at least one; none may
// be empty.
func (f *fileReader) words(at lineAt, keyword, rest string) ([]string, error) {
	words, err := splitWords(rest)
	if err != nil {
		return nil, f.fail(at, "%s %s: %v", keyword, rest, err)
	}
	if len(words) == 0 {
		return nil, f.fail(at, "%s has no argument", keyword)
	}
	for _, word := range words {
		if word == "" {
			return nil, f.fail(at, "%s has an empty argument", keyword)
		}
	}
	return words, nil
}

// word is the argument of a keyword that takes exactly one.
func (f *fileReader) word(at lineAt, keyword, rest string) (string, error) {
	words, err := f.words(at, keyword, rest)
	if err != nil {
		return "", err
	}
	if len(words) > 1 {
		return "", f.fail(at, "%s has more than one argument: %q", keyword, rest)
	}
	return words[0], nil
}

// matchPattern reports whether s matches a pattern of * and ?, in time
// proportional to their lengths.
func matchPattern(s, pattern string) bool {
	i, j, star, retry := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, retry = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			retry++
			i, j = retry, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}

// matchList reports whether s matches a comma-separated list of patterns, of
// which no negated one may match.
func matchList(s, list string) bool {
	matched := false
	for pattern := range strings.SplitSeq(list, ",") {
		bare, negated := strings.CutPrefix(pattern, "!")
		if bare == "" || !matchPattern(s, bare) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}
