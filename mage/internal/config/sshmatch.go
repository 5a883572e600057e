package config

import (
	"strings"
)

// match decides whether a Match line applies: all its criteria must hold.
func (f *fileReader) match(at lineAt, rest string, where place) (bool, error) {
	criteria, err := f.criteria(at, rest)
	if err != nil {
		return false, err
	}
	result := true
	for _, c := range criteria {
		// What is already decided needs no answer, so that an exec behind a
		// host that does not match is no obstacle.
		holds, err := f.holds(at, c, result && !where.never)
		if err != nil {
			return false, err
		}
		result = result && holds != c.negated
	}
	return result, nil
}

// criterion is one condition of a Match line.
type criterion struct {
	name    string // lower-case
	arg     string
	negated bool
}

// criteria reads the conditions of a Match line. Releases of ssh differ in how
// they read single quotes and backslashes here, so these are refused.
func (f *fileReader) criteria(at lineAt, rest string) ([]criterion, error) {
	var list []criterion
	for {
		rest = strings.TrimLeft(rest, blanks)
		if rest == "" || rest[0] == '#' {
			break
		}
		if strings.ContainsAny(rest, `'\`) {
			return nil, f.fail(at, "Match %s: quotes and backslashes are not understood without an ssh program", rest)
		}
		var c criterion
		end := strings.IndexAny(rest+" ", blanks+"=")
		c.name, rest = strings.ToLower(rest[:end]), rest[end:]
		c.name, c.negated = strings.CutPrefix(c.name, "!")
		if takesArgument(c.name) {
			rest = strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(rest, blanks), "="), blanks)
			var ok bool
			if c.arg, rest, ok = cutArgument(rest); !ok {
				return nil, f.fail(at, "Match %s has no argument", c.name)
			}
		}
		list = append(list, c)
	}
	return list, f.checkAll(at, list)
}

// cutArgument takes the argument of a criterion: a word, or quoted text.
func cutArgument(s string) (arg, rest string, ok bool) {
	if after, quoted := strings.CutPrefix(s, `"`); quoted {
		arg, rest, ok = strings.Cut(after, `"`)
		return arg, rest, ok && arg != ""
	}
	end := strings.IndexAny(s+" ", blanks+"=")
	return s[:end], s[end:], end > 0 && s[0] != '#'
}

func takesArgument(criterion string) bool {
	return criterion != "all" && criterion != "final" && criterion != "canonical"
}

// checkAll holds "all" to its place: alone, or right behind final or canonical.
func (f *fileReader) checkAll(at lineAt, list []criterion) error {
	if len(list) == 0 {
		return f.fail(at, "Match has no criteria")
	}
	for i, c := range list {
		if c.name != "all" {
			continue
		}
		follows := i == 1 && !takesArgument(list[0].name)
		if len(list) > i+1 || i > 0 && !follows {
			return f.fail(at, "Match all cannot be combined with other criteria")
		}
		if c.negated {
			return f.fail(at, "Match !all is not understood")
		}
	}
	return nil
}

// holds reports whether one criterion is true, apart from its negation. needed
// is false when the line cannot apply any more.
func (f *fileReader) holds(at lineAt, c criterion, needed bool) (bool, error) {
	switch c.name {
	case "all":
		return true, nil
	case "final":
		f.wantFinal = true
		return f.final, nil
	case "canonical":
		return f.final, nil
	case "host":
		return matchList(strings.ToLower(f.s.hostName.value), strings.ToLower(c.arg)), nil
	case "originalhost":
		return matchList(strings.ToLower(f.q.name), strings.ToLower(c.arg)), nil
	case "user":
		return matchList(f.s.user.value, c.arg), nil
	case "localuser":
		return matchList(f.r.User, c.arg), nil
	case "exec", "localnetwork", "tagged", "command", "version", "sessiontype":
		if !needed {
			return false, nil
		}
		return false, f.fail(at, "Match %s cannot be decided without an ssh program", c.name)
	}
	return false, f.fail(at, "Match %s is not understood", c.name)
}
