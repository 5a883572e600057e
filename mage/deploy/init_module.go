package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/mod/modfile"
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
		begin := "module " + name + "\n\ngo 1.26.0\n"
		missing, err := missingLines("go.mod", []byte(begin))
		if err != nil {
			return err
		}
		return b.create("go.mod", begin+missing)
	}
	if err != nil {
		return err
	}
	missing, err := missingLines(b.path("go.mod"), old)
	if err != nil {
		return err
	}
	return b.add("go.mod", old, missing)
}

// missingLines is what a go.mod lacks.
func missingLines(name string, text []byte) (string, error) {
	mod, err := modfile.Parse(name, text, nil)
	if err != nil {
		return "", fmt.Errorf("read go.mod: %w", err)
	}
	var add string
	if !hasTool(mod) {
		add += "\ntool " + mageProgram + "\n"
	}
	if mod.Module != nil && mod.Module.Mod.Path == ourModule || hasModule(mod) {
		return add, nil
	}
	version := ownVersion()
	if version == "" {
		checkout := ownCheckout()
		if checkout == "" {
			return add, nil // go mod tidy finds the newest
		}
		// From a checkout, which no version names.
		version = "v0.0.0"
		add += "\nreplace " + ourModule + " => " + modfile.AutoQuote(checkout) + "\n"
	}
	return add + "\nrequire " + ourModule + " " + version + "\n", nil
}

// hasTool says whether "go tool mage" starts something already: magefile/mage
// does, too.
func hasTool(mod *modfile.File) bool {
	return slices.ContainsFunc(mod.Tool, func(t *modfile.Tool) bool { return path.Base(t.Path) == "mage" })
}

// hasModule says whether a go.mod says where our module comes from.
func hasModule(mod *modfile.File) bool {
	return slices.ContainsFunc(mod.Require, func(r *modfile.Require) bool { return r.Mod.Path == ourModule }) ||
		slices.ContainsFunc(mod.Replace, func(r *modfile.Replace) bool { return r.Old.Path == ourModule })
}

// ownCheckout is the folder that this program was compiled from, if it is still a
// checkout of this module.
func ownCheckout() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return ""
	}
	dir := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || modfile.ModulePath(text) != ourModule || strings.Contains(dir, ourModule+"@") {
		return ""
	}
	return dir
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

var magefileImport = regexp.MustCompile(`(?m)^\s*(?://mage:import[ \t]*(.*)\n\s*)?(?:\w+\s+)?"` + regexp.QuoteMeta(ourModule) + `/mage"`)

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
		if m := magefileImport.FindSubmatch(text); m != nil {
			b.kept(b.relative(name))
			b.prefix = prefixOf(string(m[1]))
			return nil
		}
	}
	b.kept(b.relative(found[0]))
	b.prefix = "vps:"
	b.log.Warn("add these two lines to the imports of %s:\n    //mage:import vps\n    _ %q", b.relative(found[0]), ourModule+"/mage")
	return nil
}

// prefixOf is what an import under a name puts before those of targets.
func prefixOf(alias string) string {
	if alias = strings.TrimSpace(alias); alias != "" {
		return strings.ToLower(alias) + ":"
	}
	return ""
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
