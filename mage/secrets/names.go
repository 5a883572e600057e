package secrets

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3"
)

// parseName splits a name at its dots; a backslash takes the next character as
// it is.
func parseName(name string) ([]string, error) {
	var path []string
	var part strings.Builder
	escaped := false
	for _, char := range name {
		switch {
		case escaped:
			part.WriteRune(char)
			escaped = false
		case char == '\\':
			escaped = true
		case char == '.':
			path = append(path, part.String())
			part.Reset()
		default:
			part.WriteRune(char)
		}
	}
	path = append(path, part.String())
	if escaped || slices.Contains(path, "") {
		return nil, fail(nil, next.Words("Join the keys by dots, as in database.password."), "%q is not a name", name)
	}
	if path[0] == "sops" {
		return nil, fail(nil, next.Words("Choose another name."), "%q belongs to sops", name)
	}
	return path, nil
}

// formatName is the opposite of parseName.
func formatName(path []string) string {
	parts := make([]string, len(path))
	for i, part := range path {
		parts[i] = strings.NewReplacer(`\`, `\\`, `.`, `\.`).Replace(part)
	}
	return strings.Join(parts, ".")
}

// lookup returns the value at path, whatever kind of value lies on the way.
func lookup(value any, path []string) (any, error) {
	for i, part := range path {
		next, err := child(value, part)
		if err != nil {
			return nil, inside(path[:i], err)
		}
		value = *next
	}
	return value, nil
}

// child returns a pointer to the value below one key or index.
func child(value any, part string) (*any, error) {
	switch value := value.(type) {
	case sops.TreeBranch:
		for i := range value {
			if value[i].Key == part {
				return &value[i].Value, nil
			}
		}
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, part)
	case []any:
		return element(value, part)
	}
	return nil, fmt.Errorf("%w: %q, because what is above it is a single value", ErrUnknownName, part)
}

func element(list []any, part string) (*any, error) {
	index, err := strconv.Atoi(part)
	if err != nil {
		return nil, fmt.Errorf("%w: a list has indexes, not %q", ErrUnknownName, part)
	}
	for i := range list {
		if _, comment := list[i].(sops.Comment); comment {
			continue
		}
		if index == 0 {
			return &list[i], nil
		}
		index--
	}
	return nil, fmt.Errorf("%w: index %s, the list has %d elements", ErrUnknownName, part, len(elements(list)))
}

func inside(path []string, err error) error {
	if len(path) == 0 {
		return err
	}
	return fmt.Errorf("in %q: %w", formatName(path), err)
}

// put sets the text at path and makes the maps that lead to it. It replaces
// only single values: sops would replace a whole map by a text without a word.
func put(branch sops.TreeBranch, path []string, text string) (sops.TreeBranch, error) {
	at, err := child(branch, path[0])
	if errors.Is(err, ErrUnknownName) {
		return append(branch, sops.TreeItem{Key: path[0], Value: nest(path[1:], text)}), nil
	}
	if err != nil {
		return nil, err
	}
	return branch, putValue(at, path[:1], path[1:], text)
}

func putValue(at *any, above, path []string, text string) error {
	switch value := (*at).(type) {
	case sops.TreeBranch:
		if len(path) == 0 {
			return fmt.Errorf("%q is a map with %d keys; setting it would lose them", formatName(above), len(value))
		}
		branch, err := put(value, path, text)
		if err != nil {
			return inside(above, err)
		}
		*at = branch
		return nil
	case []any:
		if len(path) == 0 {
			return fmt.Errorf("%q is a list of %d elements; setting it would lose them", formatName(above), len(elements(value)))
		}
		next, err := element(value, path[0])
		if err != nil {
			return inside(above, err)
		}
		return putValue(next, append(above[:len(above):len(above)], path[0]), path[1:], text)
	}
	if len(path) > 0 && *at != nil {
		return fmt.Errorf("%q is a single value; it cannot hold %q", formatName(above), formatName(path))
	}
	*at = nest(path, text)
	return nil
}

func nest(path []string, text string) any {
	if len(path) == 0 {
		return text
	}
	return sops.TreeBranch{{Key: path[0], Value: nest(path[1:], text)}}
}

// clone copies the structure, since sops encrypts and decrypts in place.
func clone(branches sops.TreeBranches) sops.TreeBranches {
	out := make(sops.TreeBranches, len(branches))
	for i, branch := range branches {
		out[i] = cloneValue(branch).(sops.TreeBranch)
	}
	return out
}

func cloneValue(value any) any {
	switch value := value.(type) {
	case sops.TreeBranch:
		out := make(sops.TreeBranch, len(value))
		for i, item := range value {
			out[i] = sops.TreeItem{Key: item.Key, Value: cloneValue(item.Value)}
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = cloneValue(item)
		}
		return out
	}
	return value
}

// eachComment calls visit with every comment of a map, in order, and the path
// of that map. Comments of lists are values to sops, and it moves them by itself.
func eachComment(value any, path []string, visit func(path []string, comment *any)) {
	switch value := value.(type) {
	case sops.TreeBranches:
		for _, branch := range value {
			eachComment(branch, path, visit)
		}
	case sops.TreeBranch:
		for i := range value {
			below := path
			switch key := value[i].Key.(type) {
			case sops.Comment:
				visit(path, &value[i].Key)
			case string:
				below = append(path[:len(path):len(path)], key)
			}
			eachComment(value[i].Value, below, visit)
		}
	case []any:
		for _, item := range value {
			eachComment(item, path, visit)
		}
	}
}

// commentsBeside notes which comments stand beside a value: decrypting one
// forgets it, and the comment would move to a line of its own.
func commentsBeside(branches sops.TreeBranches) []bool {
	var out []bool
	eachComment(branches, nil, func(_ []string, comment *any) { out = append(out, (*comment).(sops.Comment).Inline) })
	return out
}

func restoreBeside(branches sops.TreeBranches, beside []bool) {
	next := 0
	eachComment(branches, nil, func(_ []string, comment *any) {
		*comment = sops.Comment{Value: (*comment).(sops.Comment).Value, Inline: beside[next]}
		next++
	})
}

// checkComments decrypts the comments once more, because sops takes one that
// does not decrypt for one that was never encrypted.
func (f *file) checkComments() error {
	var err error
	eachComment(f.tree.Branches, nil, func(path []string, comment *any) {
		text := (*comment).(sops.Comment).Value
		if !strings.HasPrefix(text, encryptedPrefix) {
			return
		}
		if _, fault := f.cipher.Decrypt(text, f.dataKey, strings.Join(path, ":")+":"); fault != nil {
			err = fmt.Errorf("%w: a comment does not decrypt", ErrDamaged)
		}
	})
	return err
}

// eachLeaf calls visit with every value that is not a map or list.
func eachLeaf(value any, path []string, visit func(path []string, value any)) {
	switch value := value.(type) {
	case sops.TreeBranch:
		for _, item := range value {
			if key, ok := item.Key.(string); ok {
				eachLeaf(item.Value, append(path[:len(path):len(path)], key), visit)
			}
		}
	case []any:
		for i, item := range elements(value) {
			eachLeaf(item, append(path[:len(path):len(path)], fmt.Sprint(i)), visit)
		}
	default:
		visit(path, value)
	}
}

// elements are the items of a list without its comments.
func elements(list []any) []any {
	out := make([]any, 0, len(list))
	for _, item := range list {
		if _, comment := item.(sops.Comment); !comment {
			out = append(out, item)
		}
	}
	return out
}

var quoted = regexp.MustCompile("`[^`]*`")

// scrub removes the values that the YAML reader quotes in its errors.
func scrub(err error) error {
	return errors.New(quoted.ReplaceAllString(err.Error(), "…"))
}
