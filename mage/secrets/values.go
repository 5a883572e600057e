package secrets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
)

// Get decrypts one value of the project in dir. It is text exactly as it was
// set; a number, boolean or time is the text that sops-nix would write. The
// error wraps [ErrUnknownName] where there is no such name.
func Get(dir string, ids *Identities, name string) (string, error) {
	return Project{Dir: dir}.Get(ids, name)
}

// Get is the function [Get] for the file of p.
func (p Project) Get(ids *Identities, name string) (string, error) {
	path, err := parseName(name)
	if err != nil {
		return "", err
	}
	data, err := p.read()
	if err != nil {
		return "", err
	}
	f, err := openHinted(data, ids, config.NewStoresConfig(), p.SecretsFile())
	if err != nil {
		return "", err
	}
	return f.get(path)
}

func (f *file) get(path []string) (string, error) {
	value, err := lookup(first(f.tree.Branches), path)
	if err != nil {
		return "", fail(err, next.Say("Run %s for the names there are.", next.Target("secrets:list")), "looking up %q", formatName(path))
	}
	switch value := value.(type) {
	case sops.TreeBranch, []any:
		var below []string
		eachLeaf(value, path, func(path []string, _ any) { below = append(below, formatName(path)) })
		return "", fail(nil, next.Words("Ask for one of them."), "%q is not one value but %d: %s", formatName(path), len(below), strings.Join(below, ", "))
	case nil:
		return "", nil
	default:
		text, err := sops.ToBytes(value)
		if err != nil {
			return "", fmt.Errorf("reading %q: %w", formatName(path), err)
		}
		if flag, ok := value.(bool); ok {
			return fmt.Sprint(flag), nil
		}
		return string(text), nil
	}
}

// Names lists the names in the file of the project in dir, in their order. It
// needs no key, and so proves nothing about the file.
func Names(dir string) ([]string, error) { return Project{Dir: dir}.Names() }

// Names is the function [Names] for the file of p.
func (p Project) Names() ([]string, error) {
	data, err := p.read()
	if err != nil {
		return nil, err
	}
	tree, err := parse(data, storeFor(p.name(), config.NewStoresConfig()))
	if err != nil {
		return nil, fail(err, next.Say("Run %s.", next.Target("secrets:check")), "reading the names in %s", p.name())
	}
	return names(tree.Branches), nil
}

// valueLimit in bytes; the file's own limit leaves room for base64.
const valueLimit = 8 << 20

// Set stores one text, encrypted, in the file of the project in dir, and
// reports whether that changed anything. It makes the maps that lead to a
// nested name, and refuses to replace a map or list. The value is stored to
// the byte; see [TrimInput] for what comes from a pipe.
func Set(ctx context.Context, dir string, ids *Identities, name, value string) (changed bool, err error) {
	return Project{Dir: dir}.Set(ctx, ids, name, value)
}

// Set is the function [Set] for the file of p.
func (p Project) Set(ctx context.Context, ids *Identities, name, value string) (changed bool, err error) {
	path, err := parseName(name)
	if err != nil {
		return false, err
	}
	if err := checkValue(value); err != nil {
		return false, fail(err, next.Words("Give the value on stdin, in the terminal, or with -file=."), "setting %q", name)
	}
	f, old, err := p.open(ids)
	if err != nil {
		return false, err
	}
	if err := f.set(path, value); err != nil {
		return false, err
	}
	return p.save(ctx, ids, f, old)
}

func (f *file) set(path []string, value string) error {
	if len(f.tree.Branches) == 0 {
		return fail(ErrDamaged, next.Words("Restore the file with git."), "setting %q", formatName(path))
	}
	branch, err := put(f.tree.Branches[0], path, value)
	if err != nil {
		return fail(err, next.Say("Run %s for the names there are, or change the structure with %s.", next.Target("secrets:list"), next.Target("secrets:edit")),
			"setting %q", formatName(path))
	}
	f.tree.Branches[0] = branch
	return f.checkWouldEncrypt(path)
}

// checkWouldEncrypt refuses a name that the rules leave in plain text: whoever
// sets a secret does not expect to read it in git.
func (f *file) checkWouldEncrypt(path []string) error {
	plain, err := f.plainNames()
	if err != nil {
		return err
	}
	for _, name := range plain {
		if name == formatName(path) {
			return fail(nil, next.Say("Choose another name, or put it there with %s if it is no secret.", next.Target("secrets:edit")),
				"%q would be stored in plain text: the rules in .sops.yaml or its suffix say so", name)
		}
	}
	return nil
}

// plainNames are the names of values that sealing leaves in plain text, without
// those that are empty.
func (f *file) plainNames() ([]string, error) {
	sealed := f.tree
	sealed.Branches = clone(f.tree.Branches)
	if _, err := sealed.Encrypt(f.dataKey, f.cipher); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	var out []string
	eachLeaf(first(sealed.Branches), nil, func(path []string, value any) {
		text, ok := value.(string)
		if value != nil && value != "" && (!ok || !strings.HasPrefix(text, encryptedPrefix)) {
			out = append(out, formatName(path))
		}
	})
	return out, nil
}

func checkValue(value string) error {
	switch {
	case value == "":
		return errors.New("the value is empty")
	case len(value) > valueLimit:
		return fmt.Errorf("the value has %d bytes, the limit is %d", len(value), int64(valueLimit))
	case !utf8.ValidString(value):
		return errors.New("the value is not text; encode it, for example with base64")
	}
	return nil
}

// TrimInput removes the line end that echo adds to a single line. What has
// several lines is kept as it is, line end included.
func TrimInput(value string) string {
	trimmed := strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if strings.ContainsAny(trimmed, "\n\r") {
		return value
	}
	return trimmed
}

// ReadValue reads a value from a pipe, without the line end that echo adds.
func ReadValue(from io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(from, valueLimit+1))
	if err != nil {
		return "", fmt.Errorf("reading the value: %w", err)
	}
	return TrimInput(string(data)), nil
}

// ReadValueFile reads a value from a file, to the byte. A leading ~/ is the
// home, since a shell leaves it alone in -file=~/….
func ReadValueFile(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding ~: %w", err)
		}
		path = filepath.Join(home, rest)
	}
	info, err := os.Stat(path)
	if err == nil && info.Size() > valueLimit {
		err = fmt.Errorf("%d bytes, the limit is %d", info.Size(), int64(valueLimit))
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fail(err, next.Words("Name a file that you may read."), "reading the value")
	}
	return string(data), nil
}

// Declared is a secret that the NixOS configuration asks for. Its JSON form is that of
// /etc/vps/facts.json.
type Declared struct {
	Name           string `json:"name"`           // as sops.secrets names it
	Key            string `json:"key"`            // what it is called in File, slashes between levels; empty: it is all of File
	File           string `json:"file"`           // sops file that it lies in, with slashes; empty: unknown
	Format         string `json:"format"`         // of File: "yaml", "json", "dotenv", "ini" or "binary"
	Path           string `json:"path"`           // where the server has it
	Owner          string `json:"owner"`          // user whose file it is, or its number; empty: root
	Mode           string `json:"mode"`           // octal; empty: 0400
	NeededForUsers bool   `json:"neededForUsers"` // there before users are made, and always root's
}

// InTree says whether File is a path in the project, and not one elsewhere or unknown.
func (d Declared) InTree() bool { return d.File != "" && !strings.HasPrefix(d.File, "/") }

// Whole says that the secret is all of its file.
func (d Declared) Whole() bool { return d.Key == "" || d.Format == "binary" }

// inFile are those that lie in one file.
func inFile(declared []Declared, file string) []Declared {
	var out []Declared
	for _, d := range declared {
		if d.File == file {
			out = append(out, d)
		}
	}
	return out
}

// path is where its file has it. sops-nix separates levels by slashes.
func (d Declared) path() []string {
	return strings.Split(cmp.Or(d.Key, d.Name), "/")
}

// Readers says in words who may read the secret on the server.
func (d Declared) Readers() string {
	owner := d.Owner
	if owner == "" || d.NeededForUsers {
		owner = "root"
	}
	mode, err := strconv.ParseUint(d.Mode, 8, 32)
	if d.Mode == "" {
		mode, err = 0o400, nil
	}
	switch {
	case err != nil:
		return fmt.Sprintf("%s, mode %s", owner, d.Mode)
	case mode&0o004 != 0:
		return "every user"
	case mode&0o040 != 0:
		return owner + " and its group"
	}
	return owner
}

// Listed is a name, in a file or declared or both.
type Listed struct {
	File     string `json:"file"`
	Name     string `json:"name"`
	Present  bool   `json:"present"`           // in File
	Declared bool   `json:"declared"`          // in nix/
	Readers  string `json:"readers,omitempty"` // on the server
	Path     string `json:"path,omitempty"`    // on the server
}

// List puts the names of all sops files of the project in dir beside the declared
// ones. It needs no key and shows no value.
func List(ctx context.Context, dir string, declared []Declared) ([]Listed, error) {
	files, err := Files(ctx, dir)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		files = []string{defaultFile} // which says what is wrong
	}
	for _, d := range declared {
		if !slices.Contains(files, d.File) && fileExists(Project{Dir: dir, File: d.File}.SecretsFile()) {
			files = append(files, d.File)
		}
	}
	var out []Listed
	for _, file := range files {
		list, err := Project{Dir: dir, File: file}.List(declared)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	for _, d := range declared {
		if !slices.Contains(files, d.File) {
			out = append(out, d.absent())
		}
	}
	return out, nil
}

// List is the function [List] for the file of p alone.
func (p Project) List(declared []Declared) ([]Listed, error) {
	present, err := p.Names()
	if err != nil {
		return nil, err
	}
	declared = inFile(declared, p.name())
	var out []Listed
	for _, name := range present {
		entry := Listed{File: p.name(), Name: name, Present: true}
		for _, d := range declared {
			if covers(d, name) {
				entry.Declared, entry.Readers, entry.Path = true, d.Readers(), d.Path
			}
		}
		out = append(out, entry)
	}
	for _, d := range declared {
		if !slices.ContainsFunc(present, func(name string) bool { return covers(d, name) }) {
			out = append(out, d.absent())
		}
	}
	return out, nil
}

// absent is a declared secret that no file has.
func (d Declared) absent() Listed {
	return Listed{File: d.File, Name: formatName(d.path()), Declared: true, Readers: d.Readers(), Path: d.Path}
}

// covers reports whether a declared secret is the one of this name, or the map
// or list around it.
func covers(d Declared, name string) bool {
	declared := formatName(d.path())
	return d.Whole() || name == declared || strings.HasPrefix(name, declared+".")
}
