package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
)

const (
	// fileLimit in bytes is far beyond what a server's secrets need, and keeps
	// a file that is something else from filling the memory.
	fileLimit = 16 << 20

	// formatVersion is the version of sops whose format this package writes;
	// a test compares it with go.mod.
	formatVersion = "3.13.3"
)

// file is a decrypted secrets.yaml.
type file struct {
	tree    sops.Tree // branches in plain
	cipher  strictCipher
	dataKey []byte
	store   *sopsyaml.Store
}

// readFile reads path, which may hold at most fileLimit bytes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(ErrMissing, "Run `mage secrets:init`, or restore it with git.", "reading %q", path)
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil && info.Size() > fileLimit {
		err = fmt.Errorf("%d bytes, the limit is %d", info.Size(), int64(fileLimit))
	}
	if err != nil {
		return nil, fail(err, "Restore it with git.", "reading %q", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fail(err, "Check the file's owner and mode.", "reading %q", path)
	}
	return data, nil
}

// parse reads the encrypted form and decrypts nothing.
func parse(data []byte, store *sopsyaml.Store) (tree sops.Tree, err error) {
	if err := screen(data); err != nil {
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
func screen(data []byte) error {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return fmt.Errorf("%w: the file is empty", ErrDamaged)
	case len(data) > fileLimit:
		return fmt.Errorf("%d bytes, the limit is %d", len(data), int64(fileLimit))
	case bytes.HasPrefix(data, []byte("<<<<<<< ")), bytes.Contains(data, []byte("\n<<<<<<< ")):
		return fmt.Errorf("%w: git left conflict markers; take one side and repeat the other's change", ErrDamaged)
	case bytes.ContainsRune(data, '*') && hasAlias(data):
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
func open(data []byte, ids *Identities, stores *config.StoresConfig) (*file, error) {
	store := sopsyaml.NewStore(&stores.YAML)
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
