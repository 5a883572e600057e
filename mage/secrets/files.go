package secrets

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3/config"
	"go.yaml.in/yaml/v3"
)

// Files lists the sops files of the project in dir: secrets/secrets.yaml first, if
// there is one, then those that a rule of .sops.yaml matches, sorted. What git
// ignores is left out. A file that a rule matches and that is not encrypted is
// none of them; see [Check].
func Files(ctx context.Context, dir string) ([]string, error) {
	found, err := find(ctx, dir)
	return found.encrypted, err
}

// found are the files that the rules of .sops.yaml match.
type found struct {
	encrypted []string
	plain     []string // in the formats of sops, in the folder of an encrypted one
}

// find looks at every file that git does not ignore.
func find(ctx context.Context, dir string) (found, error) {
	names, err := list(ctx, dir)
	if err != nil {
		return found{}, err
	}
	rules, err := (Project{Dir: dir}).matcher()
	if err != nil {
		return found{}, err
	}
	var out found
	folders := map[string]bool{"secrets": true}
	var plain []string
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return found{}, err
		}
		switch {
		case name != defaultFile && !rules.matches(name):
		case looksEncrypted(filepath.Join(dir, filepath.FromSlash(name))):
			out.encrypted = append(out.encrypted, name)
			folders[folderOf(name)] = true
		default:
			plain = append(plain, name)
		}
	}
	for _, name := range plain {
		if folders[folderOf(name)] && storeFormat(name) {
			out.plain = append(out.plain, name)
		}
	}
	slices.SortFunc(out.encrypted, func(a, b string) int {
		return cmp.Or(cmp.Compare(boolRank(a != defaultFile), boolRank(b != defaultFile)), strings.Compare(a, b))
	})
	return out, nil
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

func folderOf(name string) string {
	folder, _, ok := cutLast(name, "/")
	if !ok {
		return "."
	}
	return folder
}

func cutLast(s, sep string) (before, after string, found bool) {
	if at := strings.LastIndex(s, sep); at >= 0 {
		return s[:at], s[at+len(sep):], true
	}
	return s, "", false
}

// storeFormat reports whether a name's ending is one of sops' formats. A file of
// no such ending can be anything.
func storeFormat(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json", ".env", ".ini"}, filepath.Ext(name))
}

// list names the files of the project that git does not ignore, sorted; without
// git all of them.
func list(ctx context.Context, dir string) ([]string, error) {
	out, _, err := git.In(dir).Output(ctx, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if git.Absent(err) {
		return walk(ctx, dir)
	}
	if err != nil {
		return nil, fail(err, next.Of(err), "listing the files of the project")
	}
	names := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	return slices.Compact(names), nil
}

func walk(ctx context.Context, dir string) (names []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		name, relErr := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return nil // what cannot be read is no sops file of ours
		case relErr != nil:
			return relErr
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == ".vps"):
			return filepath.SkipDir
		case entry.Type().IsRegular():
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	return names, err
}

// looksEncrypted reports whether a file has what only sops writes. Whether it is
// genuine is another question.
func looksEncrypted(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > fileLimit {
		return false
	}
	data, err := os.ReadFile(path)
	return err == nil && Encrypted(path, data)
}

// Encrypted reports whether a file of that name is one that sops encrypted, as far
// as can be seen without a key.
func Encrypted(name string, data []byte) bool {
	if !bytes.Contains(data, []byte(encryptedPrefix)) {
		return false
	}
	_, err := parse(data, storeFor(name, config.NewStoresConfig()))
	return !errors.Is(err, ErrNotEncrypted)
}

// Readable reports whether a file of that name is a sops file in good form. One that is
// damaged, or a text that only shows what sops writes, is none.
func Readable(name string, data []byte) bool {
	if !bytes.Contains(data, []byte(encryptedPrefix)) {
		return false
	}
	_, err := parse(data, storeFor(name, config.NewStoresConfig()))
	return err == nil
}

// matcher says which files the rules of .sops.yaml match. sops itself answers,
// once for each name.
type matcher struct {
	path, dir string
}

func (p Project) matcher() (*matcher, error) {
	path, err := filepath.Abs(p.RulesFile())
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return &matcher{}, nil
	}
	return &matcher{path, filepath.Dir(path)}, nil
}

func (m *matcher) matches(name string) bool {
	if m.path == "" {
		return false
	}
	matched := false
	_ = guard(func() error {
		rule, err := config.LoadCreationRuleForFile(m.path, filepath.Join(m.dir, filepath.FromSlash(name)), nil)
		matched = err == nil && rule != nil
		return nil
	})
	return matched
}

// owners says for each recipient of .sops.yaml whose it is, as the file itself
// says in a comment or by the name of an anchor. Whoever can change the file can
// write anything there.
func owners(text string) map[string]string {
	out := map[string]string{}
	parsed, err := documents([]byte(text))
	if err != nil {
		return out
	}
	for _, document := range parsed {
		eachNode(document, func(node *yaml.Node) {
			if node.Kind != yaml.ScalarNode {
				return
			}
			owner := cmp.Or(comment(node), node.Anchor)
			for recipient := range strings.FieldsFuncSeq(node.Value, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
				if _, known := out[recipient]; !known && owner != "" {
					out[recipient] = owner
				}
			}
		})
	}
	return out
}

// comment is what stands beside or above a node, on one line and short.
func comment(node *yaml.Node) string {
	text := cmp.Or(node.LineComment, node.HeadComment)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return brief(strings.TrimSpace(strings.TrimLeft(lines[len(lines)-1], "# ")))
}

func brief(text string) string {
	const most = 60
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// describe is a recipient with what .sops.yaml says of it.
func describe(recipient string, owners map[string]string) string {
	if owner := owners[recipient]; owner != "" {
		return fmt.Sprintf("%s (.sops.yaml calls it %q)", short(recipient), owner)
	}
	return short(recipient) + " (.sops.yaml does not say whose)"
}
