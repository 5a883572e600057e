package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// open decrypts the project's file and returns its bytes too, with which save
// can tell whether somebody else has changed it.
func (p Project) open(ids *Identities) (*file, []byte, error) {
	rules, err := loadRules(p)
	if err != nil {
		return nil, nil, err
	}
	data, err := readFile(p.SecretsFile())
	if err != nil {
		return nil, nil, err
	}
	f, err := openHinted(data, ids, rules.stores, p.SecretsFile())
	if err == nil && (ids.IsExample() || slices.Contains(bare(f.tree.Metadata.KeyGroups), ExampleRecipient)) {
		err = fail(ErrExampleKey, makeOwnKey, "refusing to put secrets into %q, which everybody can decrypt", p.SecretsFile())
	}
	return f, data, err
}

// save writes f in the place of old and reports whether there was a difference.
func (p Project) save(ctx context.Context, ids *Identities, f *file, old []byte) (changed bool, err error) {
	data, err := f.sealChecked(ids)
	if err != nil {
		return false, err
	}
	same, err := f.sameAs(old, ids)
	if err != nil || same {
		return false, err
	}
	return true, p.writeSecrets(ctx, old, data)
}

func (p Project) writeSecrets(ctx context.Context, old, data []byte) error {
	err := replaceFile(ctx, p.SecretsFile(), old, data, 0o644)
	if errors.Is(err, ErrChanged) {
		return fail(err, "Look at the other change with `git diff`, then run the command again.", "writing %q", p.SecretsFile())
	}
	if err != nil {
		return fail(err, "The file is as it was; make room or correct the permissions, then run the command again.", "writing %q", p.SecretsFile())
	}
	return nil
}

// sameAs reports whether the old file holds the same values, comments and
// recipients, so that there is nothing to write.
func (f *file) sameAs(old []byte, ids *Identities) (bool, error) {
	before, err := openLike(f, old, ids)
	if err != nil {
		return false, nil // nothing that can be read is being replaced
	}
	was, err := before.plain()
	if err != nil {
		return false, err
	}
	is, err := f.plain()
	return err == nil && bytes.Equal(was, is) && bytes.Equal(before.dataKey, f.dataKey) &&
		sameSelection(before.tree.Metadata, f.tree.Metadata), err
}

// sealChecked encrypts, and decrypts what came out: nothing that we could not
// read again, or that reads differently, ever replaces a file.
func (f *file) sealChecked(ids *Identities) ([]byte, error) {
	data, err := f.seal()
	if err != nil {
		return nil, err
	}
	again, err := openLike(f, data, ids)
	if err != nil {
		return nil, fmt.Errorf("reading back what was encrypted: %w", err)
	}
	was, err := f.plain()
	if err != nil {
		return nil, err
	}
	is, err := again.plain()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(was, is) {
		return nil, errors.New("what was encrypted reads differently when it is decrypted; a value or comment is of a form that sops does not keep")
	}
	return data, nil
}

// align encrypts to the recipients of r. If one has gone, the data key is made
// new too, so that it cannot read what comes.
func (f *file) align(r *rules) (removed bool, err error) {
	want, have := recipients(r.creation.KeyGroups), recipients(f.tree.Metadata.KeyGroups)
	if slices.Equal(have, want) {
		return false, nil
	}
	f.tree.Metadata.KeyGroups = r.creation.KeyGroups
	f.tree.Metadata.ShamirThreshold = r.creation.ShamirThreshold
	if slices.ContainsFunc(have, func(name string) bool { return !slices.Contains(want, name) }) {
		return true, f.newDataKey()
	}
	return false, rewrap(&f.tree.Metadata, f.dataKey)
}
