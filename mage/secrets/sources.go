package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"
	"github.com/dagadbm/vps/mage/internal/childenv"
	"github.com/dagadbm/vps/mage/internal/next"
)

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

// LoadIdentities finds the age keys of the project in dir, in the first of these
// places: secrets/age-key.txt; the file that SOPS_AGE_KEY_FILE names; SOPS_AGE_KEY
// itself; what the command in SOPS_AGE_KEY_CMD prints; the SSH key that
// SOPS_AGE_SSH_PRIVATE_KEY_FILE names; sops' own keys.txt and ~/.ssh/id_ed25519, if
// .sops.yaml names one of their recipients; the public example key. A key file must
// be readable by its owner only. The error wraps [ErrNoKey] where there is none.
func LoadIdentities(ctx context.Context, dir string, ask AskPassphrase) (*Identities, error) {
	return Sources{Dir: dir, Getenv: os.Getenv, Ask: ask}.Load(ctx)
}

// Load finds the age keys, as [LoadIdentities] does.
func (s Sources) Load(ctx context.Context) (*Identities, error) {
	if s.Getenv == nil {
		s.Getenv = os.Getenv
	}
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
	if command := s.Getenv("SOPS_AGE_KEY_CMD"); command != "" {
		return fromCommand(ctx, command)
	}
	if file := s.Getenv("SOPS_AGE_SSH_PRIVATE_KEY_FILE"); file != "" {
		return s.fromFile(ctx, file, true)
	}
	if ids := s.usual(ctx); ids != nil {
		return ids, nil
	}
	ids, err = s.fromFile(ctx, project.ExampleKeyFile(), false)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !ids.IsExample()) {
		return nil, fail(ErrNoKey, next.Say("Run %s for a new key, or put yours into secrets/age-key.txt or SOPS_AGE_KEY_FILE.", next.Target("secrets:init")),
			"looking for an age key in %q, SOPS_AGE_KEY_FILE, SOPS_AGE_KEY, SOPS_AGE_KEY_CMD and sops' keys.txt", project.KeyFile())
	}
	return ids, err
}

// usual looks where sops looks without being told. A person's keys of other projects
// lie there, too, so only one that .sops.yaml names counts.
func (s Sources) usual(ctx context.Context) *Identities {
	text, err := os.ReadFile(Project{Dir: s.Dir}.RulesFile())
	if err != nil {
		return nil
	}
	for _, path := range s.usualFiles() {
		ids, err := s.fromFile(ctx, path, true)
		if err == nil && slices.ContainsFunc(ids.all, func(id identity) bool { return id.named(string(text)) }) {
			return ids
		}
	}
	return nil
}

// usualFiles are sops' keys.txt, as it is called on this system, and the SSH key
// that sops tries.
func (s Sources) usualFiles() []string {
	home := s.Getenv("HOME")
	var files []string
	add := func(base string, parts ...string) {
		if filepath.IsAbs(base) {
			files = append(files, filepath.Join(append([]string{base}, parts...)...))
		}
	}
	add(s.Getenv("XDG_CONFIG_HOME"), "sops", "age", "keys.txt")
	if runtime.GOOS == "darwin" {
		add(home, "Library", "Application Support", "sops", "age", "keys.txt")
	}
	add(home, ".config", "sops", "age", "keys.txt")
	add(home, ".ssh", "id_ed25519")
	return files
}

// named reports whether a .sops.yaml names the identity's recipient; of a plugin's
// identity, one of the same plugin.
func (id identity) named(rules string) bool {
	if id.kind == fromPlugin {
		name, _, err := plugin.ParseIdentity(id.line)
		return err == nil && strings.Contains(rules, "age1"+name+"1")
	}
	return id.recipient != "" && strings.Contains(rules, id.recipient)
}

// fromEnvironment reads identities from the value of a variable: the text of a key
// file with its comments, or one line, of which only what looks like an identity
// counts where there is a comment in it.
func fromEnvironment(value string) (*Identities, error) {
	var lines []string
	several := strings.Contains(strings.TrimSpace(value), "\n")
	for line := range strings.Lines(value) {
		comment := strings.Contains(line, "#")
		if comment && several && strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			if !comment || strings.HasPrefix(word, "AGE-") {
				lines = append(lines, word)
			}
		}
	}
	ids, err := ParseIdentities([]byte(strings.Join(lines, "\n")))
	if err != nil {
		return nil, fail(err, next.Words("Put one age identity, or several with spaces between, into SOPS_AGE_KEY."), "reading SOPS_AGE_KEY")
	}
	ids.source = "SOPS_AGE_KEY"
	return ids, nil
}

// fromCommand runs the command of SOPS_AGE_KEY_CMD by a shell.
func fromCommand(ctx context.Context, command string) (*Identities, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env, cmd.Stdin, cmd.Stderr = childenv.Clean(), os.Stdin, os.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err == nil && len(out) > keyFileLimit {
		err = errors.New("it prints more than any age key")
	}
	var ids *Identities
	if err == nil {
		ids, err = ParseIdentities(out)
	}
	if err != nil {
		return nil, fail(err, next.Words("Run the command in SOPS_AGE_KEY_CMD by hand: it must print age identities, one a line."), "asking SOPS_AGE_KEY_CMD for an age key")
	}
	ids.source = "SOPS_AGE_KEY_CMD"
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
	var ids *Identities
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		var id identity
		if id, err = parseSSH(data, s.askSSH(ctx, path)); err == nil {
			ids = &Identities{all: []identity{id}, once: &touched{opened: map[string][]byte{}}}
		}
	} else {
		ids, err = ParseIdentities(data)
	}
	if err != nil {
		return nil, fail(err, next.Words("Correct that line: each line is an identity of age or of a plugin, or begins with #. Your backup of the file has it."), "reading the age key %q", path)
	}
	ids.source, ids.passphrase = path, passphrase
	return ids, nil
}

// askSSH asks for the passphrase of an SSH key; nil where nobody can be asked.
func (s Sources) askSSH(ctx context.Context, path string) func() ([]byte, error) {
	if s.Ask == nil {
		return nil
	}
	return func() ([]byte, error) {
		answer, err := s.Ask(ctx, path)
		return []byte(answer), err
	}
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
		return nil, "", fail(errLocked, next.Words("Run the command in a terminal."), "the age key %q is protected by a passphrase, and nobody can be asked", path)
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

// errLocked is a key that is there, so that none must be made in its place.
var errLocked = errors.New("the key is locked")

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
