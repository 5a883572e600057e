package secrets

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// valueLimit in bytes; the file's own limit leaves room for base64.
const valueLimit = 8 << 20

// Set stores one text, encrypted, in the file of the project in dir, and
// reports whether that changed anything. It makes the maps that lead to a
// nested name, and refuses to replace a map or list. The value is stored to
// the byte; see [TrimInput] for what comes from a pipe.
func Set(ctx context.Context, dir string, ids *Identities, name, value string) (changed bool, err error) {
	path, err := parseName(name)
	if err != nil {
		return false, err
	}
	if err := checkValue(value); err != nil {
		return false, fail(err, "Give the value on stdin, in the terminal, or with -file=.", "setting %q", name)
	}
	project := Project{dir}
	f, old, err := project.open(ids)
	if err != nil {
		return false, err
	}
	if err := f.set(path, value); err != nil {
		return false, err
	}
	return project.save(ctx, ids, f, old)
}

func (f *file) set(path []string, value string) error {
	if len(f.tree.Branches) == 0 {
		return fail(ErrDamaged, "Restore the file with git.", "setting %q", formatName(path))
	}
	branch, err := put(f.tree.Branches[0], path, value)
	if err != nil {
		return fail(err, "Run `mage secrets:list` for the names there are, or change the structure with `mage secrets:edit`.",
			"setting %q", formatName(path))
	}
	f.tree.Branches[0] = branch
	return f.checkWouldEncrypt(path)
}

// checkWouldEncrypt refuses a name that the rules leave in plain text: whoever
// sets a secret does not expect to read it in git.
func (f *file) checkWouldEncrypt(path []string) error {
	plain, err := f.plainNames()
	if err != nil {
		return err
	}
	for _, name := range plain {
		if name == formatName(path) {
			return fail(nil, "Choose another name, or put it there with `mage secrets:edit` if it is no secret.",
				"%q would be stored in plain text: the rules in .sops.yaml or its suffix say so", name)
		}
	}
	return nil
}

// plainNames are the names of values that sealing leaves in plain text, without
// those that are empty.
func (f *file) plainNames() ([]string, error) {
	sealed := f.tree
	sealed.Branches = clone(f.tree.Branches)
	if _, err := sealed.Encrypt(f.dataKey, f.cipher); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	var out []string
	eachLeaf(first(sealed.Branches), nil, func(path []string, value any) {
		text, ok := value.(string)
		if value != nil && value != "" && (!ok || !strings.HasPrefix(text, encryptedPrefix)) {
			out = append(out, formatName(path))
		}
	})
	return out, nil
}

func checkValue(value string) error {
	switch {
	case value == "":
		return errors.New("the value is empty")
	case len(value) > valueLimit:
		return fmt.Errorf("the value has %d bytes, the limit is %d", len(value), int64(valueLimit))
	case !utf8.ValidString(value):
		return errors.New("the value is not text; encode it, for example with base64")
	}
	return nil
}

// TrimInput removes the line end that echo adds to a single line. What has
// several lines is kept as it is, line end included.
func TrimInput(value string) string {
	trimmed := strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if strings.ContainsAny(trimmed, "\n\r") {
		return value
	}
	return trimmed
}
