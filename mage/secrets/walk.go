package secrets

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/getsops/sops/v3"
)

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
