package run

import (
	"crypto/sha256"
	_ "embed" // for the scripts
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
)

//go:embed scripts/putkey.sh
var putKeyScript string

//go:embed scripts/keyuse.sh
var keyUseScript string

// PutKey builds the command that replaces the server's age key file at path by
// key, atomically, readable by root only. The key travels on standard input
// alone; [ParsePutKey] reads the answer. Of the identities that are in the file,
// those whose hashes are in keep stay, above key: they are not known here, and one
// that is not there any more is an error.
func (s Shell) PutKey(path string, key []byte, keep ...string) Command {
	sum := sha256.Sum256(key)
	return s.script(putKeyScript,
		[2]string{"FILE", path},
		[2]string{"SHA256", hex.EncodeToString(sum[:])},
		[2]string{"KEEP", strings.Join(keep, " ")},
		[2]string{"KEY", string(key)})
}

// ParsePutKey reads the answer of [Shell.PutKey].
func ParsePutKey(out []byte) error {
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == answerPut {
			return nil
		}
		if why, ok := strings.CutPrefix(line, answerFailed); ok {
			return errors.New(cut(why, 200))
		}
	}
	return &ParseError{What: "answer", Err: errors.New("it does not say whether the key was written")}
}

// ReadTreeFile builds the command that prints a file of /etc/nixos, byte for byte.
// What the login shell prints comes before it, so the caller compares the hash.
func (s Shell) ReadTreeFile(path string) Command {
	return s.library(`cat -- "$NIXOS/$FILE"`+"\n", [2]string{"FILE", path})
}

// KeyUse is which keys a generation needs.
type KeyUse struct {
	Generation int
	Known      bool      // its tree is kept, so that Files are known
	Files      []KeyFile // the sops files of its tree
	Uses       []string  // the files that its own facts name; absolute: not of the tree
}

// KeyFile is to whom a sops file is encrypted.
type KeyFile struct {
	Name       string // in the tree
	Recipients []string
}

// Needs reports whether the generation needs one of the old keys, or may need it,
// where a server has the new key: a file is encrypted to an old one and not to the
// new one, or nobody knows what it is encrypted to.
func (u KeyUse) Needs(old []string, recipient string) bool {
	if !u.Known || slices.ContainsFunc(u.Uses, func(file string) bool { return strings.HasPrefix(file, "/") }) {
		return true
	}
	return slices.ContainsFunc(u.Files, func(file KeyFile) bool {
		for _, name := range old {
			if slices.Contains(file.Recipients, name) {
				return !slices.Contains(file.Recipients, recipient)
			}
		}
		return false
	})
}

// KeyUses builds the command whose output [ParseKeyUses] reads.
func (s Shell) KeyUses() Command { return s.library(keyUseScript) }

// ParseKeyUses reads the output of [Shell.KeyUses], in order of the generations.
func ParseKeyUses(r io.Reader) ([]KeyUse, error) {
	var list []KeyUse
	err := readFields("generations", r, func(key, value string) (err error) {
		if key == "generation" {
			var n int64
			if n, err = number(value); err == nil {
				list, err = bounded(list, KeyUse{Generation: int(n)})
			}
			return err
		}
		if len(list) == 0 {
			return nil
		}
		last := &list[len(list)-1]
		switch key {
		case "tree":
			last.Known = value == "1"
		case "uses":
			last.Uses, err = bounded(last.Uses, value)
		case "file":
			last.Files, err = bounded(last.Files, KeyFile{Name: value})
		case "recipient":
			if len(last.Files) == 0 {
				return errors.New("a recipient of no file")
			}
			file := &last.Files[len(last.Files)-1]
			file.Recipients, err = bounded(file.Recipients, strings.TrimSpace(value))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b KeyUse) int { return a.Generation - b.Generation })
	return list, nil
}
