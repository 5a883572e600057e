package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	"golang.org/x/crypto/ssh"
)

// LoginKey is an SSH public key in a secret. Whoever has the private half can log
// in where the configuration lists that secret's file.
type LoginKey struct {
	Name        string // of the secret
	Type        string // such as ssh-ed25519
	Fingerprint string // SHA256:…
	Options     string // as in authorized_keys; "" for none
	Comment     string // whoever wrote the file can write anything here
}

// ID tells keys apart: the same key with fewer restrictions is another one.
func (k LoginKey) ID() string { return strings.TrimSpace(k.Fingerprint + " " + k.Options) }

// String is the key as a person compares it.
func (k LoginKey) String() string {
	text := k.Type + " " + k.ID()
	if k.Comment != "" {
		text += fmt.Sprintf(" (its comment says %q)", short(k.Comment))
	}
	return text
}

// Change is how a sops file differs from another version of it. It holds names and
// fingerprints, never a value.
type Change struct {
	File                    string
	Added, Removed, Changed []string // names, in the order of the file
	LoginAdded              []LoginKey
	LoginRemoved            []LoginKey
	// Unknown is why the old version could not be compared; then Added and
	// LoginAdded hold all that the new one has. nil where it could.
	Unknown error
}

// Empty reports whether no value differs.
func (c Change) Empty() bool { return len(c.Added)+len(c.Removed)+len(c.Changed) == 0 }

// Compare tells which values of a sops file differ between two versions of it.
// Nil is a version that does not exist. An error is about the new version.
func Compare(file string, old, now []byte, ids *Identities) (Change, error) {
	c := Change{File: file}
	after, err := openHinted(now, ids, config.NewStoresConfig(), file)
	if err != nil {
		return c, err
	}
	before := map[string]string{}
	var wasKeys []LoginKey
	var was []string
	if old != nil {
		opened, err := openHinted(old, ids, config.NewStoresConfig(), file)
		if err != nil {
			c.Unknown = err
		} else {
			before, was, wasKeys = values(opened), names(opened.tree.Branches), loginKeys(opened.tree.Branches)
		}
	}
	is, isKeys := values(after), loginKeys(after.tree.Branches)
	for _, name := range names(after.tree.Branches) {
		value, there := before[name]
		switch {
		case !there:
			c.Added = append(c.Added, name)
		case value != is[name]:
			c.Changed = append(c.Changed, name)
		}
	}
	for _, name := range was {
		if _, there := is[name]; !there {
			c.Removed = append(c.Removed, name)
		}
	}
	c.LoginAdded, c.LoginRemoved = lacking(wasKeys, isKeys), lacking(isKeys, wasKeys)
	return c, nil
}

// values are the texts of all values, with their kinds.
func values(f *file) map[string]string {
	out := map[string]string{}
	eachLeaf(first(f.tree.Branches), nil, func(path []string, value any) { out[formatName(path)] = fmt.Sprintf("%T %v", value, value) })
	return out
}

// lacking are the keys that list has not.
func lacking(list, keys []LoginKey) []LoginKey {
	var out []LoginKey
	for _, key := range keys {
		same := func(other LoginKey) bool { return other.ID() == key.ID() }
		if !slices.ContainsFunc(list, same) && !slices.ContainsFunc(out, same) {
			out = append(out, key)
		}
	}
	return out
}

// LoginKeys are the SSH public keys in the file, in any of its values: what a
// secret is for only the configuration says.
func (r *Report) LoginKeys() []LoginKey { return loginKeys(r.values) }

func loginKeys(branches sops.TreeBranches) []LoginKey {
	var out []LoginKey
	eachLeaf(first(branches), nil, func(path []string, value any) {
		if text, ok := value.(string); ok {
			out = append(out, keysIn(formatName(path), text)...)
		}
	})
	return out
}

// keysIn are the login keys in a text. sshd skips lines that it cannot read, and so
// does this.
func keysIn(name, text string) []LoginKey {
	var out []LoginKey
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) == exampleSSHPublicKey {
			continue // no key, or one whose private half nobody has
		}
		out = append(out, LoginKey{Name: name, Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key),
			Options: strings.Join(options, ","), Comment: comment})
	}
	return out
}

// parsePublicKeys reads the format of authorized_keys and wants every line to
// be right: sshd skips a wrong one, and with it perhaps the only key.
func parsePublicKeys(data []byte) ([]ssh.PublicKey, error) {
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, errors.New("this is a private key")
	}
	var out []ssh.PublicKey
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, errors.New("holds a line that is not an SSH public key")
		}
		out = append(out, key)
	}
	if len(out) == 0 {
		return nil, errors.New("holds no SSH public key")
	}
	return out, nil
}
