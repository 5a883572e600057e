package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// The limits of a tree: it is configuration, and all of it is held in memory.
const (
	maxSize    = 64 << 20 // bytes
	maxEntries = 100_000
)

// checkProject makes sure that dir is a project's folder, before git is asked
// about it.
func (p Project) checkProject() error {
	for _, name := range []string{p.nix(), "secrets"} {
		info, err := os.Lstat(filepath.Join(p.Dir, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return unreadable(name, err)
		case !info.IsDir():
			return &Error{Path: name, Reason: "it is not a folder", Next: next.Words("make it a folder of the project, not a link or a file")}
		}
	}
	flake := p.flake("flake.nix")
	_, err := os.Stat(filepath.Join(p.Dir, filepath.FromSlash(flake)))
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{
			Path:   flake,
			Reason: fmt.Sprintf("there is no such file in %q", p.Dir),
			Next:   next.Say("run this in the project's folder, or make a project with %s", next.Target("init")),
		}
	}
	if err != nil {
		return unreadable(flake, err)
	}
	return nil
}

// checkRequired makes sure that the files without which no server can be built
// are among those to deploy.
//
// A flake that is deployed as its owner laid it out need not have secrets.yaml.
func (p Project) checkRequired(files []file) error {
	for _, required := range []struct {
		name    string
		restore next.Step
	}{
		{p.flake("flake.nix"), next.Words("restore it: it is what the server builds")},
		{secretsFile, next.Say("make it with: %s", next.Target("secrets:init"))},
	} {
		name := required.name
		i := slices.IndexFunc(files, func(f file) bool { return f.name == name })
		if i >= 0 && files[i].info.Mode().IsRegular() {
			continue
		}
		if i >= 0 {
			return &Error{Path: name, Reason: "it is not a regular file", Next: next.Words("replace it with the file itself")}
		}
		_, err := os.Lstat(filepath.Join(p.Dir, name))
		if name == secretsFile && err != nil && (p.nix() != defaultNix || len(p.Sops) > 0) {
			continue
		}
		if err == nil {
			return &Error{Path: name, Reason: "git ignores it, so it is not deployed", Next: next.Say("change .gitignore: %s belongs into git", name)}
		}
		return &Error{Path: name, Reason: "there is no such file", Next: required.restore}
	}
	return nil
}

func (p Project) checkSize(files []file) error {
	var sum int64
	for _, f := range files {
		sum += f.info.Size()
	}
	if len(files) > maxEntries {
		return p.tooMuch(fmt.Sprintf("there are %d files, more than the %d that can be deployed", len(files), maxEntries))
	}
	if sum <= maxSize {
		return nil
	}
	biggest := slices.SortedFunc(slices.Values(files), func(a, b file) int { return int(b.info.Size() - a.info.Size()) })
	var names []string
	for _, f := range biggest[:min(3, len(biggest))] {
		names = append(names, fmt.Sprintf("%s (%d KiB)", f.name, f.info.Size()>>10))
	}
	return p.tooMuch(fmt.Sprintf("the files are %d MiB, more than the %d MiB that can be deployed; the biggest: %s",
		sum>>20, maxSize>>20, strings.Join(names, ", ")))
}

func (p Project) tooMuch(reason string) error {
	return &Error{Path: p.nix(), Reason: reason, Next: next.Words("let git ignore what does not belong to the configuration")}
}
