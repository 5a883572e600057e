package secrets

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
)

// identity is one private key and the line that it was read from.
type identity struct {
	key       age.Identity
	line      string
	recipient string
}

// Identities are the private age keys at hand. The zero value holds none.
type Identities struct {
	all        []identity
	source     string
	passphrase string
}

// ParseIdentities reads the format of age-keygen: one identity on each line,
// empty lines and lines that start with # ignored. Post-quantum identities are
// understood. No error repeats what a line holds.
func ParseIdentities(data []byte) (*Identities, error) {
	ids := &Identities{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, err := parseIdentity(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		ids.all = append(ids.all, id)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("not an age key: %w", err)
	}
	if len(ids.all) == 0 {
		return nil, errors.New("holds no age identity")
	}
	return ids, nil
}

func parseIdentity(line string) (identity, error) {
	parsed, err := age.ParseIdentities(strings.NewReader(line))
	if err != nil || len(parsed) != 1 {
		return identity{}, errors.New("not an age identity (AGE-SECRET-KEY-1… or AGE-SECRET-KEY-PQ-1…)")
	}
	switch key := parsed[0].(type) {
	case *age.X25519Identity:
		return identity{key, line, key.Recipient().String()}, nil
	case *age.HybridIdentity:
		return identity{key, line, key.Recipient().String()}, nil
	}
	return identity{}, errors.New("an age identity of a kind that sops-nix does not read")
}

// Recipients are the public halves, in the order of the file.
func (ids *Identities) Recipients() []string {
	out := make([]string, 0, len(ids.all))
	for _, id := range ids.all {
		out = append(out, id.recipient)
	}
	return out
}

// Hashes are the hexadecimal SHA-256 sums of the identity lines without spaces
// around them and without a line end: what a server computes of its own key
// file, so that the two can be compared and no key is ever read back.
func (ids *Identities) Hashes() []string {
	out := make([]string, 0, len(ids.all))
	for _, id := range ids.all {
		out = append(out, id.hash())
	}
	return out
}

func (id identity) hash() string {
	sum := sha256.Sum256([]byte(id.line))
	return hex.EncodeToString(sum[:])
}

// KeyFile is what belongs into a server's key.txt: the identity lines and
// nothing else, never protected by a passphrase.
func (ids *Identities) KeyFile() []byte {
	var out bytes.Buffer
	for _, id := range ids.all {
		out.WriteString(id.line + "\n")
	}
	return out.Bytes()
}

// Only returns those identities whose recipient is listed. A server should get
// no key that it has no use for.
func (ids *Identities) Only(recipients []string) *Identities {
	return ids.filter(func(id identity) bool { return slices.Contains(recipients, id.recipient) })
}

func (ids *Identities) without(recipients []string) *Identities {
	return ids.filter(func(id identity) bool { return !slices.Contains(recipients, id.recipient) })
}

func (ids *Identities) filter(keep func(identity) bool) *Identities {
	out := &Identities{source: ids.source, passphrase: ids.passphrase}
	for _, id := range ids.all {
		if keep(id) {
			out.all = append(out.all, id)
		}
	}
	return out
}

// Source names where the identities were found, for a person to read.
func (ids *Identities) Source() string { return ids.source }

// Len is the number of identities.
func (ids *Identities) Len() int { return len(ids.all) }

// IsExample reports whether the example key is among them, wherever it was
// read from: what is encrypted to it is readable by everybody.
func (ids *Identities) IsExample() bool { return slices.Contains(ids.Recipients(), ExampleRecipient) }

// String keeps keys out of logs.
func (ids *Identities) String() string {
	return fmt.Sprintf("%d age identities from %s", len(ids.all), ids.source)
}

// GoString keeps keys out of logs too.
func (ids *Identities) GoString() string { return ids.String() }
