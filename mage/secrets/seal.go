package secrets

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
)

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

// newFile is an empty file for the recipients of rules, with a new data key.
func newFile(r *rules) (*file, error) {
	f := &file{
		tree:   sops.Tree{Metadata: r.metadata(), Branches: sops.TreeBranches{{}}},
		cipher: newCipher(),
		store:  sopsyaml.NewStore(&r.stores.YAML),
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
	other, err := open(data, ids, config.NewStoresConfig())
	if err == nil {
		other.store = f.store
	}
	return other, err
}
