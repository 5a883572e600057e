package secrets

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"
)

// identity is one private key and the line that it was read from.
type identity struct {
	key       age.Identity
	line      string
	recipient string // "" of a plugin's, which does not tell
	kind      identityKind
}

type identityKind int

const (
	native     identityKind = iota // age's own: what a server's key file holds
	fromPlugin                     // AGE-PLUGIN-…: the key is in a YubiKey, a TPM, a Secure Enclave
	fromSSH                        // an SSH private key
)

// Identities are the private age keys at hand. The zero value holds none.
type Identities struct {
	all        []identity
	source     string
	passphrase string
	once       *touched
}

// ParseIdentities reads the format of age-keygen: one identity on each line,
// empty lines and lines that start with # ignored. Post-quantum identities and
// those of plugins are understood. No error repeats what a line holds.
func ParseIdentities(data []byte) (*Identities, error) {
	ids := &Identities{once: &touched{opened: map[string][]byte{}}}
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
	if !slices.ContainsFunc(ids.all, identity.usable) {
		return nil, errors.New("holds nothing but lines that no plugin of age writes")
	}
	return ids, nil
}

func parseIdentity(line string) (identity, error) {
	if strings.HasPrefix(line, "AGE-PLUGIN-") {
		return identity{key: pluginIdentity(line), line: line, kind: fromPlugin}, nil
	}
	parsed, err := age.ParseIdentities(strings.NewReader(line))
	if err != nil || len(parsed) != 1 {
		return identity{}, errors.New("not an age identity (AGE-SECRET-KEY-1…, AGE-SECRET-KEY-PQ-1… or AGE-PLUGIN-…)")
	}
	switch key := parsed[0].(type) {
	case *age.X25519Identity:
		return identity{key, line, key.Recipient().String(), native}, nil
	case *age.HybridIdentity:
		return identity{key, line, key.Recipient().String(), native}, nil
	}
	return identity{}, errors.New("an age identity of a kind that sops-nix does not read")
}

// usable reports whether the line can be an identity. Beside another one, a plugin's
// line that cannot is of no matter.
func (id identity) usable() bool {
	if id.kind != fromPlugin {
		return true
	}
	_, _, err := plugin.ParseIdentity(id.line)
	return err == nil
}

// pluginIdentity is a line that a program age-plugin-NAME understands. It is
// started only where no other identity decrypts, since it may ask for a touch.
type pluginIdentity string

// Unwrap runs the plugin, by age's own client, on the person's terminal.
func (p pluginIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	say := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	id, err := plugin.NewIdentity(string(p), plugin.NewTerminalUI(say, say))
	if err != nil {
		return nil, errors.New("not what a plugin of age writes")
	}
	return id.Unwrap(stanzas)
}

// parseSSH reads an SSH private key as an age identity. A passphrase is asked for
// when the key is needed.
func parseSSH(pem []byte, ask func() ([]byte, error)) (identity, error) {
	line := strings.TrimSpace(string(pem))
	signer, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked) && locked.PublicKey != nil && ask != nil:
		key, err := agessh.NewEncryptedSSHIdentity(locked.PublicKey, pem, ask)
		return identity{key, line, sshRecipient(locked.PublicKey), fromSSH}, err
	case errors.As(err, &locked):
		return identity{}, errors.New("an SSH key with a passphrase, and nobody can be asked")
	case err != nil:
		return identity{}, errors.New("not an SSH private key")
	}
	key, err := agessh.ParseIdentity(pem)
	if err != nil {
		return identity{}, errors.New("an SSH key of a kind that age does not take: only ed25519 and RSA")
	}
	return identity{key, line, sshRecipient(signer.PublicKey()), fromSSH}, nil
}

// sshRecipient is the form in which .sops.yaml names an SSH key, without a comment.
func sshRecipient(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// sameRecipient compares recipients as sops writes them: an SSH key may have a
// comment.
func sameRecipient(a, b string) bool {
	if strings.HasPrefix(a, "ssh-") {
		return slices.Equal(firstTwo(a), firstTwo(b))
	}
	return a == b
}

func firstTwo(text string) []string {
	fields := strings.Fields(text)
	return fields[:min(2, len(fields))]
}

// Recipients are the public halves, in the order of the file, without those of
// plugins, which only the plugin knows.
func (ids *Identities) Recipients() []string {
	out := make([]string, 0, len(ids.all))
	for _, id := range ids.all {
		if id.recipient != "" {
			out = append(out, id.recipient)
		}
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

// KeyFile is what belongs into a server's key.txt: the lines of age's own
// identities and nothing else, never protected by a passphrase.
func (ids *Identities) KeyFile() []byte {
	var out bytes.Buffer
	for _, id := range ids.all {
		if id.kind == native {
			out.WriteString(id.line + "\n")
		}
	}
	return out.Bytes()
}

// Only returns those identities whose recipient is listed. A server should get
// no key that it has no use for.
func (ids *Identities) Only(recipients []string) *Identities {
	return ids.filter(func(id identity) bool { return id.in(recipients) })
}

func (ids *Identities) without(recipients []string) *Identities {
	return ids.filter(func(id identity) bool { return !id.in(recipients) })
}

func (id identity) in(recipients []string) bool {
	return id.recipient != "" && slices.ContainsFunc(recipients, func(name string) bool { return sameRecipient(id.recipient, name) })
}

// quiet are those that decrypt without asking anybody.
func (ids *Identities) quiet() *Identities {
	return ids.filter(func(id identity) bool { return id.kind != fromPlugin })
}

func (ids *Identities) filter(keep func(identity) bool) *Identities {
	out := &Identities{source: ids.source, passphrase: ids.passphrase, once: ids.once}
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
