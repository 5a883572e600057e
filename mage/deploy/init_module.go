package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
)

const (
	ourModule   = "github.com/dagadbm/vps"
	mageProgram = ourModule + "/mage/cmd/mage"
)

// module makes go.mod, or adds to it what our targets need: the program mage as
// a tool, and this module. `go mod tidy` then completes it.
func (b *beginning) module() error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	old, err := os.ReadFile(b.path("go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		name, err := b.moduleName()
		if err != nil {
			return err
		}
		return b.create("go.mod", "module "+name+"\n\ngo 1.26.0\n"+missingLines(nil))
	}
	if err != nil {
		return err
	}
	return b.add("go.mod", old, missingLines(old))
}

// missingLines is what go.mod lacks.
func missingLines(mod []byte) string {
	var add string
	if !mentions(mod, mageProgram) {
		add += "\ntool " + mageProgram + "\n"
	}
	if version := ownVersion(); version != "" && !mentions(mod, ourModule) {
		add += "\nrequire " + ourModule + " " + version + "\n"
	}
	return add
}

// mentions says whether a go.mod requires a module. Of our program it says whether
// "go tool mage" starts something already: mage itself is as good, but slower.
func mentions(mod []byte, path string) bool {
	for line := range strings.Lines(string(mod)) {
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		last := len(words) - 1
		switch {
		case path == mageProgram && last >= 0 && strings.HasSuffix(words[last], "/mage") && (last == 0 || words[0] == "tool"):
			return true
		case path != mageProgram && slices.Contains(words, path):
			return true
		}
	}
	return false
}

// ownVersion is this module's version, "" in a checkout of it.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == ourModule && m.Replace == nil && strings.HasPrefix(m.Version, "v") && !strings.Contains(m.Version, "+dirty") {
			return m.Version
		}
	}
	return ""
}

var notInModuleName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// moduleName makes a module's name of the folder's.
func (b *beginning) moduleName() (string, error) {
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return "", err
	}
	name := strings.Trim(notInModuleName.ReplaceAllString(filepath.Base(dir), "-"), "-.")
	if name == "" {
		name = "servers"
	}
	return "example.com/" + name, nil
}

var magefileImport = regexp.MustCompile(`(?m)^\s*(//mage:import.*\n\s*)?(\w+\s+)?"` + regexp.QuoteMeta(ourModule) + `/mage"`)

// magefile writes one, unless the folder has magefiles: then it says which line
// imports our targets, for nobody but the owner knows where it belongs.
func (b *beginning) magefile() error {
	found, err := b.magefiles()
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return b.create("magefile.go", skeletonMagefile)
	}
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if magefileImport.Match(text) {
			b.kept(b.relative(name))
			return nil
		}
	}
	b.kept(b.relative(found[0]))
	b.log.Warn("add these two lines to the imports of %s:\n    //mage:import vps\n    _ %q", b.relative(found[0]), ourModule+"/mage")
	return nil
}

func (b *beginning) relative(path string) string {
	if name, err := filepath.Rel(b.dir, path); err == nil {
		return name
	}
	return path
}

var mageTag = regexp.MustCompile(`(?m)^//go:build\s.*\bmage\b`)

// magefiles are the files that mage would read here: all of magefiles/, else the
// Go files with the tag mage.
func (b *beginning) magefiles() ([]string, error) {
	found, err := filepath.Glob(b.path("magefiles/*.go"))
	if err != nil || len(found) > 0 {
		return found, err
	}
	all, err := filepath.Glob(b.path("*.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range all {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if mageTag.Match(text) {
			found = append(found, name)
		}
	}
	return found, nil
}

var ignored = []string{"/secrets/age-key*.txt", "/secrets/*.plain*", "/.vps/"}

// ignore keeps what belongs to this laptop alone out of git.
func (b *beginning) ignore() error {
	old, err := os.ReadFile(b.path(".gitignore"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var missing string
	for _, line := range ignored {
		if !bytes.Contains(append([]byte("\n"), old...), []byte("\n"+line)) {
			missing += line + "\n"
		}
	}
	if missing != "" {
		missing = "# The age key, plaintext, and what the targets leave on this laptop.\n" + missing
	}
	return b.add(".gitignore", old, missing)
}

// add puts lines at the end of a file.
func (b *beginning) add(name string, old []byte, lines string) error {
	if lines == "" {
		b.kept(name)
		return nil
	}
	text := string(old)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if err := renameio.WriteFile(b.path(name), []byte(text+lines), 0o644, renameio.WithExistingPermissions()); err != nil {
		return fmt.Errorf("add lines to %q: %w", name, err)
	}
	b.log.Info("added to %s: %s", name, strings.Join(strings.Fields(strings.ReplaceAll(lines, "\n", " ")), " "))
	return nil
}
