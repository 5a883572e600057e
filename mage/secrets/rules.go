package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
)

// rules are what .sops.yaml says about secrets/secrets.yaml, as sops' own
// configuration reader understands it.
type rules struct {
	creation *config.Config
	stores   *config.StoresConfig
}

func loadRules(project Project) (*rules, error) {
	path, err := filepath.Abs(project.RulesFile())
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fail(ErrMissing, "Run `mage secrets:init`, or restore it with git.", "reading %q", project.RulesFile())
	}
	loaded := &rules{}
	err = guard(func() error { return loaded.load(path, filepath.Join(filepath.Dir(path), "secrets", "secrets.yaml")) })
	if err != nil {
		return nil, fail(scrub(err), "Correct .sops.yaml; its creation_rules must match secrets/secrets.yaml.", "reading %q", project.RulesFile())
	}
	return loaded, nil
}

func (r *rules) load(path, secretsFile string) (err error) {
	if r.stores, err = config.LoadStoresConfig(path); err != nil {
		return err
	}
	if r.creation, err = config.LoadCreationRuleForFile(path, secretsFile, nil); err != nil {
		return err
	}
	if r.creation == nil {
		return errors.New("it has no creation_rules")
	}
	return r.checkPatterns()
}

// checkPatterns looks at what sops does not: a pattern that does not compile
// matches nothing, so with encrypted_regex everything would stay in plain text.
func (r *rules) checkPatterns() error {
	for name, pattern := range map[string]string{
		"encrypted_regex":           r.creation.EncryptedRegex,
		"unencrypted_regex":         r.creation.UnencryptedRegex,
		"encrypted_comment_regex":   r.creation.EncryptedCommentRegex,
		"unencrypted_comment_regex": r.creation.UnencryptedCommentRegex,
	} {
		if _, err := regexp.Compile(pattern); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if r.stores.YAML.Indent < 0 {
		return errors.New("stores.yaml.indent is negative")
	}
	return nil
}

// metadata is that of a new file.
func (r *rules) metadata() sops.Metadata {
	c := r.creation
	out := sops.Metadata{
		KeyGroups:               c.KeyGroups,
		ShamirThreshold:         c.ShamirThreshold,
		UnencryptedSuffix:       c.UnencryptedSuffix,
		EncryptedSuffix:         c.EncryptedSuffix,
		UnencryptedRegex:        c.UnencryptedRegex,
		EncryptedRegex:          c.EncryptedRegex,
		UnencryptedCommentRegex: c.UnencryptedCommentRegex,
		EncryptedCommentRegex:   c.EncryptedCommentRegex,
		MACOnlyEncrypted:        c.MACOnlyEncrypted,
		Version:                 formatVersion,
	}
	if out.UnencryptedSuffix+out.EncryptedSuffix+out.UnencryptedRegex+out.EncryptedRegex+
		out.UnencryptedCommentRegex+out.EncryptedCommentRegex == "" {
		out.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	return out
}

// recipients are the names of all keys, of every kind, sorted; with more than
// one key group, each with its group's number.
func recipients(groups []sops.KeyGroup) []string {
	var out []string
	for i, group := range groups {
		for _, key := range group {
			name := key.ToString()
			if len(groups) > 1 {
				name = fmt.Sprintf("group %d: %s", i+1, name)
			}
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// sameSelection reports whether two files encrypt the same of their values.
func sameSelection(a, b sops.Metadata) bool {
	return a.UnencryptedSuffix == b.UnencryptedSuffix && a.EncryptedSuffix == b.EncryptedSuffix &&
		a.UnencryptedRegex == b.UnencryptedRegex && a.EncryptedRegex == b.EncryptedRegex &&
		a.UnencryptedCommentRegex == b.UnencryptedCommentRegex && a.EncryptedCommentRegex == b.EncryptedCommentRegex &&
		a.MACOnlyEncrypted == b.MACOnlyEncrypted
}

// bare are the recipients of all groups, without their groups' numbers.
func bare(groups []sops.KeyGroup) []string {
	var out []string
	for i := range groups {
		out = append(out, recipients(groups[i:i+1])...)
	}
	return out
}
