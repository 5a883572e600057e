package secrets

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
)

// Report is what is known of an encrypted file that was verified.
type Report struct {
	// File is the file's name.
	File string
	// Recipients are those that the file is encrypted to, sorted.
	Recipients []string
	// Names are those of all values, in the order of the file.
	Names []string
	// Hashes are those of the identities at hand that decrypt the file each
	// on its own; see [Identities.Hashes].
	Hashes []string
	// Plain are the names of values that are in plain text, because of a rule
	// in .sops.yaml or an empty value.
	Plain []string

	values   sops.TreeBranches
	metadata sops.Metadata
}

// CanDecrypt reports whether one of the identities with these hashes, which a
// server computed of its own key file, decrypts the file.
func (r *Report) CanDecrypt(hashes []string) bool {
	return slices.ContainsFunc(hashes, func(hash string) bool {
		return slices.Contains(r.Hashes, strings.ToLower(strings.TrimSpace(hash)))
	})
}

// Example reports whether everybody can decrypt the file.
func (r *Report) Example() bool { return slices.Contains(bare(r.metadata.KeyGroups), ExampleRecipient) }

// VerifyBytes verifies a secrets.yaml that is already in memory: encrypted,
// MAC right, nothing tampered with, decrypted by ids. The error wraps
// [ErrNotEncrypted], [ErrDamaged] or [ErrWrongKey].
func VerifyBytes(data []byte, ids *Identities) (*Report, error) {
	return VerifyFile(defaultFile, data, ids)
}

// VerifyFile is [VerifyBytes] for a sops file of that name, which says of what
// format it is.
func VerifyFile(name string, data []byte, ids *Identities) (*Report, error) {
	f, err := openHinted(data, ids, config.NewStoresConfig(), name)
	if err != nil {
		return nil, err
	}
	report := &Report{
		File:       name,
		Recipients: recipients(f.tree.Metadata.KeyGroups),
		Names:      names(f.tree.Branches),
		values:     f.tree.Branches,
		metadata:   f.tree.Metadata,
	}
	report.Hashes, report.Plain, err = f.details(data, ids)
	return report, err
}

func (f *file) details(data []byte, ids *Identities) (hashes, plain []string, err error) {
	sealed, err := parse(data, f.store)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids.all {
		if id.kind != native {
			continue // no server has it
		}
		metadata := sealed.Metadata
		if _, err := dataKey(&metadata, &Identities{all: []identity{id}, once: ids.once}); err == nil {
			hashes = append(hashes, id.hash())
		}
	}
	eachLeaf(first(sealed.Branches), nil, func(path []string, value any) {
		if text, ok := value.(string); !ok || !strings.HasPrefix(text, encryptedPrefix) {
			plain = append(plain, formatName(path))
		}
	})
	return hashes, plain, nil
}

// Verify verifies the file of the project in dir like [VerifyBytes], and that
// its recipients are the ones in .sops.yaml.
func Verify(ctx context.Context, dir string, ids *Identities) (*Report, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return Project{Dir: dir}.Verify(ids)
}

// Verify is the function [Verify] for the file of p.
func (p Project) Verify(ids *Identities) (*Report, error) {
	data, err := p.read()
	if err != nil {
		return nil, err
	}
	report, err := VerifyFile(p.name(), data, ids)
	if err != nil {
		return nil, err
	}
	return report, report.compare(p)
}

func (r *Report) compare(project Project) error {
	rules, err := loadRules(project)
	if err != nil {
		return err
	}
	want := recipients(rules.creation.KeyGroups)
	if !slices.Equal(r.Recipients, want) {
		return fail(nil, next.Say("Run %s to encrypt to those of .sops.yaml, or correct .sops.yaml.", next.Target("secrets:init")),
			"%s is encrypted to other recipients than .sops.yaml names: %s", r.File, r.difference(want))
	}
	return nil
}

func (r *Report) difference(want []string) string {
	have := r.Recipients
	var out []string
	for _, name := range have {
		if !slices.Contains(want, name) {
			out = append(out, short(name)+" only in "+r.File)
		}
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			out = append(out, short(name)+" only in .sops.yaml")
		}
	}
	return strings.Join(out, ", ")
}

// openHinted is open with the next thing to do in its errors.
func openHinted(data []byte, ids *Identities, stores *config.StoresConfig, path string) (*file, error) {
	return openAs(data, ids, storeFor(path, stores), path)
}

// openAs is openHinted for a file whose name does not say its format.
func openAs(data []byte, ids *Identities, store sops.Store, path string) (*file, error) {
	f, err := open(data, ids, store)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, ErrNotEncrypted):
		return nil, fail(err, next.Say("Do not commit it; run %s to encrypt it, and change the values if it was ever pushed.", next.Target("secrets:init")), "reading %q", path)
	case errors.Is(err, ErrWrongKey):
		return nil, fail(err, next.Or(next.Of(err), next.Say("Use the right key, or ask someone who has it to add your recipient to .sops.yaml and run %s.", next.Target("secrets:init"))),
			"decrypting %q with %s (%s)", path, ids, shortAll(ids.Recipients()))
	}
	return nil, fail(err, next.Say("See %s and restore the last good version.", next.Shell("git", "log", "-p", "--", path)), "reading %q", path)
}

func shortAll(names []string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = short(name)
	}
	return strings.Join(out, ", ")
}

// first is the document that holds the secrets: sops-nix reads no other.
func first(branches sops.TreeBranches) sops.TreeBranch {
	if len(branches) == 0 {
		return nil
	}
	return branches[0]
}

func names(branches sops.TreeBranches) []string {
	var out []string
	eachLeaf(first(branches), nil, func(path []string, _ any) { out = append(out, formatName(path)) })
	return out
}
