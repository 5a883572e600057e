package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
)

// rules are what .sops.yaml says about one file, as sops' own
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
		return nil, fail(ErrMissing, next.Say("Run %s, or restore it with git.", next.Target("secrets:init")), "reading %q", project.RulesFile())
	}
	loaded := &rules{}
	err = guard(func() error {
		return loaded.load(path, filepath.Join(filepath.Dir(path), filepath.FromSlash(project.name())))
	})
	if err != nil {
		return nil, fail(scrub(err), next.Words("Correct .sops.yaml; its creation_rules must match "+project.name()+"."), "reading %q", project.RulesFile())
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

const newRules = `# Who can decrypt secrets/secrets.yaml. sops and the targets secrets:… read this file.
#
# To let somebody in, add their age recipient (the public key, age1…) to the
# list, then run the target secrets:init. To lock somebody out, remove it, run
# secrets:init, and change the values: they stay readable in git's history. To
# replace your own key on all servers: secrets:rotate.
creation_rules:
  - path_regex: ^secrets/secrets\.yaml$
    age:
      - `

// replaceRecipient, addRecipient and removeRecipient change the text of a
// .sops.yaml and nothing else in it: no comment, order or indentation. Each
// returns an error if sops would not understand the result as meant.

func replaceRecipient(text, old, recipient string, files ...string) (string, error) {
	out := eachBody(text, func(body, comment string) []string {
		return []string{strings.ReplaceAll(body, old, recipient) + comment}
	})
	return checkRecipients(text, out, files, func(group []string) []string {
		return append(without(group, old), onlyIf(slices.Contains(group, old), recipient)...)
	})
}

func addRecipient(text, beside, recipient string, files ...string) (string, error) {
	item := listItem(beside)
	out := eachBody(text, func(body, comment string) []string {
		if item.MatchString(strings.TrimRight(body, " ")) {
			added := strings.Replace(body, beside, recipient, 1) + comment // whose it is stays the same
			return []string{body + comment, strings.TrimRight(added, " ")}
		}
		return []string{strings.ReplaceAll(body, beside, beside+","+recipient) + comment}
	})
	meant := func(group []string) []string {
		return append(group, onlyIf(slices.Contains(group, beside), recipient)...)
	}
	if good, err := checkRecipients(text, out, files, meant); err == nil {
		return good, nil
	}
	// The list may be an anchor far from the rule: two in one entry work there.
	out = eachBody(text, func(body, comment string) []string {
		return []string{strings.ReplaceAll(body, beside, beside+","+recipient) + comment}
	})
	return checkRecipients(text, out, files, meant)
}

func removeRecipient(text, old string, files ...string) (string, error) {
	item := listItem(old)
	between := regexp.MustCompile(regexp.QuoteMeta(old) + `\s*,\s*|\s*,\s*["']?` + regexp.QuoteMeta(old) + `["']?`)
	out := eachBody(text, func(body, comment string) []string {
		if item.MatchString(strings.TrimRight(body, " ")) {
			return nil
		}
		return []string{between.ReplaceAllString(body, "") + comment}
	})
	return checkRecipients(text, out, files, func(group []string) []string { return without(group, old) })
}

// listItem matches a line that is one element of a list and nothing else.
func listItem(recipient string) *regexp.Regexp {
	return regexp.MustCompile(`^\s*-\s+["']?` + regexp.QuoteMeta(recipient) + `["']?$`)
}

// eachBody rewrites the lines of a text without their comments.
func eachBody(text string, rewrite func(body, comment string) []string) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		body, comment := line, ""
		for i := range line {
			if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
				body, comment = line[:i], line[i:]
				break
			}
		}
		out = append(out, rewrite(body, comment)...)
	}
	return strings.Join(out, "\n")
}

var errRulesForm = errors.New("its list of recipients is of a form that cannot be changed without a person")

// checkRecipients returns after if sops reads from it, for each of the files, what
// change makes of the key groups of before, and that is not the same.
func checkRecipients(before, after string, files []string, change func([]string) []string) (string, error) {
	had, err := parseRules(before, files)
	if err != nil {
		return "", err
	}
	has, err := parseRules(after, files)
	if err != nil || len(has) != len(had) {
		return "", errRulesForm
	}
	changed := false
	for i := range had {
		was := recipients(had[i : i+1])
		want := change(slices.Clone(was))
		slices.Sort(want)
		want = slices.Compact(want)
		if !slices.Equal(want, recipients(has[i:i+1])) {
			return "", errRulesForm
		}
		changed = changed || !slices.Equal(was, want)
	}
	if !changed {
		return "", errors.New("its rules do not name that recipient")
	}
	return after, nil
}

// parseRules asks sops, which reads its configuration only from a file.
func parseRules(text string, files []string) ([]sops.KeyGroup, error) {
	dir, err := os.MkdirTemp("", "vps-rules-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, ".sops.yaml"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	if len(files) == 0 {
		files = []string{defaultFile}
	}
	var groups []sops.KeyGroup
	for _, file := range files {
		loaded, err := loadRules(Project{Dir: dir, File: file})
		if err != nil {
			return nil, err
		}
		groups = append(groups, loaded.creation.KeyGroups...)
	}
	return groups, nil
}

func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(other string) bool { return other == name })
}

func onlyIf(condition bool, name string) []string {
	if condition {
		return []string{name}
	}
	return nil
}
