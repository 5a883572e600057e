package secrets

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/dagadbm/vps/mage/internal/next"
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

// keyFileLimit is generous: a post-quantum identity is 2 kB long.
const keyFileLimit = 1 << 20

// AskPassphrase asks a person for the passphrase of the key file named.
type AskPassphrase func(ctx context.Context, file string) (string, error)

// Sources say where age keys are looked for.
type Sources struct {
	Dir    string                   // the project
	Getenv func(name string) string // os.Getenv
	Ask    AskPassphrase            // nil: a protected key is an error
}

// LoadIdentities finds the age keys of the project in dir: secrets/age-key.txt,
// else the file that SOPS_AGE_KEY_FILE names, else SOPS_AGE_KEY itself, else the
// public example key. A key file must be readable by its owner only. The error
// wraps [ErrNoKey] where there is none.
func LoadIdentities(ctx context.Context, dir string, ask AskPassphrase) (*Identities, error) {
	return Sources{Dir: dir, Getenv: os.Getenv, Ask: ask}.Load(ctx)
}

// Load finds the age keys, as [LoadIdentities] does.
func (s Sources) Load(ctx context.Context) (*Identities, error) {
	project := Project{Dir: s.Dir}
	ids, err := s.fromFile(ctx, project.KeyFile(), true)
	if !errors.Is(err, fs.ErrNotExist) {
		return ids, err
	}
	if file := s.Getenv("SOPS_AGE_KEY_FILE"); file != "" {
		return s.fromFile(ctx, file, true)
	}
	if key := s.Getenv("SOPS_AGE_KEY"); key != "" {
		return fromEnvironment(key)
	}
	ids, err = s.fromFile(ctx, project.ExampleKeyFile(), false)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !ids.IsExample()) {
		return nil, fail(ErrNoKey, next.Say("Run %s for a new key, or put yours into secrets/age-key.txt or SOPS_AGE_KEY_FILE.", next.Target("secrets:init")),
			"looking for an age key in %q, SOPS_AGE_KEY_FILE and SOPS_AGE_KEY", project.KeyFile())
	}
	return ids, err
}

func fromEnvironment(value string) (*Identities, error) {
	ids, err := ParseIdentities([]byte(strings.Join(strings.Fields(value), "\n")))
	if err != nil {
		return nil, fail(err, next.Words("Put one age identity, or several with spaces between, into SOPS_AGE_KEY."), "reading SOPS_AGE_KEY")
	}
	ids.source = "SOPS_AGE_KEY"
	return ids, nil
}

func (s Sources) fromFile(ctx context.Context, path string, private bool) (*Identities, error) {
	data, err := readKeyFile(path, private)
	if err != nil {
		return nil, err
	}
	data, passphrase, err := s.unlock(ctx, path, data)
	if err != nil {
		return nil, err
	}
	ids, err := ParseIdentities(data)
	if err != nil {
		return nil, fail(err, next.Words("Restore the file from your backup."), "reading the age key %q", path)
	}
	ids.source, ids.passphrase = path, passphrase
	return ids, nil
}

func readKeyFile(path string, private bool) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fail(err, next.Words("Check that the file exists and that you may read it."), "opening the age key")
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the age key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fail(nil, next.Words("Put the key into a regular file."), "the age key %q is not a regular file", path)
	}
	if private && info.Mode().Perm()&0o077 != 0 {
		return nil, fail(nil, next.Say("Run %s; if others use this machine, run %s too.", next.Shell("chmod", "600", path), next.Target("secrets:rotate")),
			"the age key %q has mode %#o: others can read it", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(file, keyFileLimit+1))
	if err == nil && len(data) > keyFileLimit {
		err = errors.New("larger than any age key")
	}
	if err != nil {
		return nil, fail(err, next.Words("Restore the file from your backup."), "reading the age key %q", path)
	}
	return data, nil
}

// unlock decrypts a key file that is itself encrypted with a passphrase.
func (s Sources) unlock(ctx context.Context, path string, data []byte) (plain []byte, passphrase string, err error) {
	var source io.Reader = bytes.NewReader(data)
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header)):
		source = armor.NewReader(source)
	case !bytes.HasPrefix(data, []byte("age-encryption.org/")):
		return data, "", nil
	}
	if s.Ask == nil {
		return nil, "", fail(ErrNoKey, next.Words("Run the command in a terminal."), "the age key %q is protected by a passphrase, and nobody can be asked", path)
	}
	passphrase, err = s.Ask(ctx, path)
	if err != nil {
		return nil, "", fmt.Errorf("asking for the passphrase of %q: %w", path, err)
	}
	plain, err = decryptScrypt(source, passphrase)
	if err != nil {
		return nil, "", fail(err, next.Words("Run the command again with the right passphrase."), "unlocking the age key %q", path)
	}
	return plain, passphrase, nil
}

func decryptScrypt(source io.Reader, passphrase string) ([]byte, error) {
	scrypt, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(source, scrypt)
	var mismatch *age.NoIdentityMatchError
	if errors.As(err, &mismatch) {
		return nil, errors.New("wrong passphrase, or not protected by a passphrase")
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(plain, keyFileLimit))
}

// scryptWork is age's own choice: about a second for each guess.
const scryptWork = 18

// encryptScrypt is what decryptScrypt undoes: armoured, readable by the age
// program. A guess at the passphrase takes 2^work steps.
func encryptScrypt(plain []byte, passphrase string, work int) ([]byte, error) {
	scrypt, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	scrypt.SetWorkFactor(work)
	var out bytes.Buffer
	armoured := armor.NewWriter(&out)
	target, err := age.Encrypt(armoured, scrypt)
	if err != nil {
		return nil, err
	}
	if _, err := target.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(target.Close(), armoured.Close()); err != nil {
		return nil, err
	}
	return append(out.Bytes(), '\n'), nil
}
