package tree

import (
	"errors"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// rule is which values a sops file encrypts: those that it names, or all but
// those that it names. A name is that of any key above a value, or a comment.
type rule struct {
	plain    bool // the named values stay plain; else only they are encrypted
	names    func(key string) bool
	comments func(lines string) bool
}

// readRule reads the one rule that a sops section may have. Without one, keys
// that end in _unencrypted stay plain.
func readRule(meta *yaml.Node) (rule, error) {
	found := rule{
		plain:    true,
		names:    func(key string) bool { return strings.HasSuffix(key, "_unencrypted") },
		comments: never,
	}
	count := 0
	for _, kind := range []string{"suffix", "regex", "comment_regex"} {
		for _, plain := range []bool{true, false} {
			pattern := text(child(meta, map[bool]string{true: "un", false: ""}[plain]+"encrypted_"+kind))
			if pattern == "" {
				continue
			}
			count++
			r, err := newRule(kind, pattern)
			if err != nil {
				return rule{}, err
			}
			r.plain = plain
			found = r
		}
	}
	if count > 1 {
		return rule{}, errors.New("its sops section has more than one rule about what is encrypted")
	}
	return found, nil
}

func newRule(kind, pattern string) (rule, error) {
	if kind == "suffix" {
		return rule{names: func(key string) bool { return strings.HasSuffix(key, pattern) }, comments: never}, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return rule{}, errors.New("its sops section has a rule that is not a regular expression")
	}
	if kind == "regex" {
		return rule{names: re.MatchString, comments: never}, nil
	}
	return rule{names: never, comments: func(lines string) bool {
		for line := range strings.SplitSeq(lines, "\n") {
			if line = strings.TrimPrefix(strings.TrimSpace(line), "#"); line != "" && re.MatchString(line) {
				return true
			}
		}
		return false
	}}, nil
}

func never(string) bool { return false }
