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
// alone; [ParsePutKey] reads the answer.
func (s Shell) PutKey(path string, key []byte) Command {
	sum := sha256.Sum256(key)
	line := "/bin/sh -c " + quote(putKeyScript) + " vps-putkey " + quote(path) + " " + hex.EncodeToString(sum[:])
	return Command{Line: s.root(line), Stdin: string(key)}
}

// ParsePutKey reads the answer of [Shell.PutKey].
func ParsePutKey(out []byte) error {
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "put=1" {
			return nil
		}
		if why, ok := strings.CutPrefix(line, "failed="); ok {
			return errors.New(cut(why, 200))
		}
	}
	return &ParseError{What: "answer", Err: errors.New("it does not say whether the key was written")}
}

// KeyUse is to whom the secrets of a generation are encrypted.
type KeyUse struct {
	Generation int
	Known      bool     // its tree is kept, so that Recipients are known
	Recipients []string // age recipients
}

// Readable says whether the secrets are known to be encrypted to recipient.
func (u KeyUse) Readable(recipient string) bool {
	return u.Known && slices.Contains(u.Recipients, recipient)
}

// KeyUses builds the command whose output [ParseKeyUses] reads.
func (s Shell) KeyUses() Command { return s.script(keyUseScript) }

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
		case "recipient":
			last.Recipients, err = bounded(last.Recipients, strings.Trim(strings.TrimSpace(value), `"'`))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b KeyUse) int { return a.Generation - b.Generation })
	return list, nil
}
