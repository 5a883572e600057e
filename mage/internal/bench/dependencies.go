package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

const (
	modulePath     = "github.com/dagadbm/vps"
	secretsPackage = modulePath + "/mage/secrets"
	toolPackage    = modulePath + "/mage/cmd/mage"
)

// needsSecrets are packages of ours that do not compile without it.
var needsSecrets = map[string]bool{modulePath: true, modulePath + "/mage": true, modulePath + "/mage/deploy": true,
	modulePath + "/mage/internal/demo": true}

// dependencies is what the compiled targets, and mage itself, are made of.
type dependencies struct {
	imports map[string][]string
	modules map[string]string // path@version, of packages that come from elsewhere
	cache   string            // where modules are downloaded to
}

func readDependencies(ctx context.Context) (dependencies, error) {
	d := dependencies{imports: map[string][]string{}, modules: map[string]string{}}
	cache, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return d, fmt.Errorf("go env: %w", err)
	}
	d.cache = strings.TrimSpace(string(cache))
	out, err := exec.CommandContext(ctx, "go", "list", "-tags=mage", "-deps",
		"-f={{.ImportPath}}|{{join .Imports \" \"}}|{{with .Module}}{{if .Version}}{{.Path}}@{{.Version}}{{end}}{{end}}", ".", toolPackage).Output()
	if err != nil {
		return d, fmt.Errorf("go list: %w", err)
	}
	return d, d.parse(string(out))
}

func (d *dependencies) parse(list string) error {
	for line := range strings.Lines(list) {
		parts := strings.Split(strings.TrimSpace(line), "|")
		if len(parts) != 3 {
			return fmt.Errorf("go list: %q", line)
		}
		d.imports[parts[0]] = strings.Fields(parts[1])
		if parts[2] != "" {
			d.modules[parts[0]] = parts[2]
		}
	}
	if len(d.imports) == 0 {
		return errNoPackages
	}
	return nil
}

// reach lists the packages that the targets need, without one and whatever only
// that one needs.
func (d dependencies) reach(without string) []string {
	seen := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if _, known := d.imports[name]; !known || seen[name] || name == without {
			return
		}
		seen[name] = true
		for _, i := range d.imports[name] {
			visit(i)
		}
	}
	visit(modulePath)
	visit(toolPackage)
	var names []string
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// download is the size of the modules that packages come from, and how many of
// them are not in the cache.
func (d dependencies) download(packages []string) (bytes int64, missing int) {
	counted := map[string]bool{}
	for _, p := range packages {
		module := d.modules[p]
		if module == "" || counted[module] {
			continue
		}
		counted[module] = true
		path, version, _ := strings.Cut(module, "@")
		info, err := os.Stat(filepath.Join(d.cache, "cache/download", escaped(path), "@v", escaped(version)+".zip"))
		if err != nil {
			missing++
			continue
		}
		bytes += info.Size()
	}
	return bytes, missing
}

// escaped is how the module cache writes a path on disks that do not know capitals.
func escaped(path string) string {
	var b strings.Builder
	for _, r := range path {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
