package secrets

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
)

// Project is the folder that holds secrets/, .sops.yaml and nix/, and one sops file
// in it.
type Project struct {
	Dir string
	// File is the sops file, as a path in Dir with slashes; "" is
	// secrets/secrets.yaml. Its ending says of what format it is, as for sops:
	// .yaml, .yml, .json, .env, .ini, or else a file that is one secret.
	File string
}

const defaultFile = "secrets/secrets.yaml"

// Name is the sops file as a path in the project.
func (p Project) Name() string { return p.name() }

func (p Project) name() string { return cmp.Or(p.File, defaultFile) }

// in is the same project with another sops file.
func (p Project) in(file string) Project { return Project{Dir: p.Dir, File: file} }

// SecretsFile is the encrypted file, which is committed.
func (p Project) SecretsFile() string { return filepath.Join(p.Dir, filepath.FromSlash(p.name())) }

// SecretsDir is the folder of the key.
func (p Project) SecretsDir() string { return filepath.Join(p.Dir, "secrets") }

// RulesFile is sops' own configuration: who can decrypt what.
func (p Project) RulesFile() string { return filepath.Join(p.Dir, ".sops.yaml") }

// KeyFile is the private key, which is never committed.
func (p Project) KeyFile() string { return filepath.Join(p.Dir, "secrets", "age-key.txt") }

// ExampleKeyFile is the public key pair with which a fresh clone works at once.
func (p Project) ExampleKeyFile() string { return filepath.Join(p.Dir, "testdata", "age-key.txt") }

// IgnoreFile keeps the key out of git.
func (p Project) IgnoreFile() string { return filepath.Join(p.Dir, ".gitignore") }

// RotationFile is what an unfinished rotation remembers. It holds no secret.
func (p Project) RotationFile() string { return filepath.Join(p.Dir, ".vps", "rotation.json") }

func readIgnore(p Project) (string, error) {
	data, err := os.ReadFile(p.IgnoreFile())
	return string(data), err
}

// storeFor reads and writes the format of a file of this name.
func storeFor(name string, stores *config.StoresConfig) sops.Store {
	switch formats.FormatForPath(name) {
	case formats.Yaml:
		return sopsyaml.NewStore(&stores.YAML)
	case formats.Json:
		return json.NewStore(&stores.JSON)
	case formats.Dotenv:
		return dotenv.NewStore(&stores.Dotenv)
	case formats.Ini:
		return ini.NewStore(&stores.INI)
	}
	return json.NewBinaryStore(&stores.JSONBinary)
}

// isYAML reports whether a store is the one of YAML files.
func isYAML(store sops.Store) bool {
	_, yes := store.(*sopsyaml.Store)
	return yes
}

const (
	// fileLimit in bytes is far beyond what a server's secrets need, and keeps
	// a file that is something else from filling the memory.
	fileLimit = 16 << 20

	// formatVersion is the version of sops whose format this package writes;
	// a test compares it with go.mod.
	formatVersion = "3.13.3"
)

// file is a decrypted sops file.
type file struct {
	tree    sops.Tree // branches in plain
	cipher  strictCipher
	dataKey []byte
	store   sops.Store
}

// readFile reads path, which may hold at most fileLimit bytes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(ErrMissing, next.Say("Run %s, or restore it with git.", next.Target("secrets:init")), "reading %q", path)
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil && info.Size() > fileLimit {
		err = fmt.Errorf("%d bytes, the limit is %d", info.Size(), int64(fileLimit))
	}
	if err != nil {
		return nil, fail(err, next.Words("Restore it with git."), "reading %q", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fail(err, next.Words("Check the file's owner and mode."), "reading %q", path)
	}
	return data, nil
}

// read reads the sops file, which must lie in the project.
func (p Project) read() ([]byte, error) {
	if !filepath.IsLocal(filepath.FromSlash(p.name())) {
		return nil, fail(nil, next.Words("Name a file in the project, such as -file=secrets/other.yaml."), "%q is not a path in the project", p.File)
	}
	return readFile(p.SecretsFile())
}

// parse reads the encrypted form and decrypts nothing.
func parse(data []byte, store sops.Store) (tree sops.Tree, err error) {
	if err := screen(data, isYAML(store)); err != nil {
		return sops.Tree{}, err
	}
	err = guard(func() error {
		tree, err = store.LoadEncryptedFile(data)
		return err
	})
	if errors.Is(err, sops.MetadataNotFound) && bytes.Contains(data, []byte(encryptedPrefix)) {
		return tree, fmt.Errorf("%w: the part with sops' metadata is missing", ErrDamaged)
	}
	if errors.Is(err, sops.MetadataNotFound) {
		return tree, ErrNotEncrypted
	}
	if err != nil {
		return tree, fmt.Errorf("%w: %s", ErrDamaged, scrub(err))
	}
	return tree, nil
}

// screen refuses early, and with a better message, what is no sops file.
func screen(data []byte, yaml bool) error {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return fmt.Errorf("%w: the file is empty", ErrDamaged)
	case len(data) > fileLimit:
		return fmt.Errorf("%d bytes, the limit is %d", len(data), int64(fileLimit))
	case bytes.HasPrefix(data, []byte("<<<<<<< ")), bytes.Contains(data, []byte("\n<<<<<<< ")):
		return fmt.Errorf("%w: git left conflict markers; take one side and repeat the other's change", ErrDamaged)
	case yaml && bytes.ContainsRune(data, '*') && hasAlias(data):
		return fmt.Errorf("%w: holds YAML aliases, which sops never writes", ErrDamaged)
	}
	return nil
}

// guard turns a panic into an error. sops' loaders and ciphers are made for
// files that sops wrote; with others, type assertions in them fail.
func guard(work func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("sops cannot read it: %v", cause)
		}
	}()
	return work()
}

// open decrypts data and checks everything about it that can be checked.
func open(data []byte, ids *Identities, store sops.Store) (*file, error) {
	tree, err := parse(data, store)
	if err != nil {
		return nil, err
	}
	f := &file{tree: tree, cipher: newCipher(), store: store}
	err = guard(func() error {
		if f.dataKey, err = dataKey(&f.tree.Metadata, ids); err != nil {
			return err
		}
		return f.decrypt()
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (f *file) decrypt() error {
	if err := f.checkComments(); err != nil {
		return err
	}
	beside := commentsBeside(f.tree.Branches)
	computed, err := f.tree.Decrypt(f.dataKey, f.cipher)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	place := f.tree.Metadata.LastModified.Format(time.RFC3339)
	stored, err := f.cipher.Decrypt(f.tree.Metadata.MessageAuthenticationCode, f.dataKey, place)
	if err != nil {
		return fmt.Errorf("%w: the MAC does not decrypt", ErrDamaged)
	}
	if stored != computed {
		return fmt.Errorf("%w: the MAC is not the one of these values", ErrDamaged)
	}
	restoreBeside(f.tree.Branches, beside)
	return nil
}

// seal returns the encrypted form and leaves f as it is, in plain.
func (f *file) seal() ([]byte, error) {
	sealed := f.tree
	sealed.Branches = clone(f.tree.Branches)
	mac, err := sealed.Encrypt(f.dataKey, f.cipher)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	metadata := &sealed.Metadata
	metadata.LastModified = time.Now().UTC()
	if olderVersion(metadata.Version, formatVersion) {
		metadata.Version = formatVersion
	}
	metadata.MessageAuthenticationCode, err = f.cipher.Encrypt(mac, f.dataKey, metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		return nil, fmt.Errorf("encrypting the MAC: %w", err)
	}
	out, err := f.store.EmitEncryptedFile(sealed)
	if err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return out, nil
}

// plain returns the decrypted YAML, without sops' metadata.
func (f *file) plain() ([]byte, error) {
	out, err := f.store.EmitPlainFile(f.tree.Branches)
	if err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return out, nil
}

// olderVersion compares versions of the form 1.2.3; what it cannot read is older.
func olderVersion(a, b string) bool {
	var x, y [3]int
	if _, err := fmt.Sscanf(a, "%d.%d.%d", &x[0], &x[1], &x[2]); err != nil {
		return true
	}
	_, err := fmt.Sscanf(b, "%d.%d.%d", &y[0], &y[1], &y[2])
	for i := range x {
		if x[i] != y[i] {
			return err == nil && x[i] < y[i]
		}
	}
	return false
}

// newFile is an empty file of that name for the recipients of rules, with a new
// data key.
func newFile(r *rules, name string) (*file, error) {
	f := &file{
		tree:   sops.Tree{Metadata: r.metadata(), Branches: sops.TreeBranches{{}}},
		cipher: newCipher(),
		store:  storeFor(name, r.stores),
	}
	return f, f.newDataKey()
}

// newDataKey makes every value's ciphertext new: the old data key is of no use
// for this file to whoever has it.
func (f *file) newDataKey() error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // crypto/rand never fails
	if err := rewrap(&f.tree.Metadata, key); err != nil {
		return err
	}
	f.dataKey, f.cipher = key, newCipher()
	return nil
}

// openLike opens data with the store of f, so that the two can be compared.
func openLike(f *file, data []byte, ids *Identities) (*file, error) {
	return open(data, ids, f.store)
}
