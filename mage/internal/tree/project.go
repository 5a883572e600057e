package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The limits of a tree: it is configuration, and all of it is held in memory.
const (
	maxSize    = 64 << 20 // bytes
	maxEntries = 100_000
)

// checkProject makes sure that dir is a project's folder, before git is asked
// about it.
func checkProject(dir string) error {
	for _, name := range []string{nixDir, "secrets"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return unreadable(name, err)
		case !info.IsDir():
			return &Error{Path: name, Reason: "it is not a folder", Remedy: "make it a folder of the project, not a link or a file"}
		}
	}
	_, err := os.Stat(filepath.Join(dir, nixDir, "flake.nix"))
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{
			Path:   "nix/flake.nix",
			Reason: fmt.Sprintf("there is no such file in %q", dir),
			Remedy: "run this in the project's folder, or make a project with `mage init`",
		}
	}
	if err != nil {
		return unreadable("nix/flake.nix", err)
	}
	return nil
}

// checkRequired makes sure that the files without which no server can be built
// are among those to deploy.
func checkRequired(dir string, files []file) error {
	for _, required := range [][2]string{
		{"nix/flake.nix", "restore it: it is what the server builds"},
		{secretsFile, "make it with `mage secrets:init`"},
	} {
		name, remedy := required[0], required[1]
		i := slices.IndexFunc(files, func(f file) bool { return f.name == name })
		if i >= 0 && files[i].info.Mode().IsRegular() {
			continue
		}
		if i >= 0 {
			return &Error{Path: name, Reason: "it is not a regular file", Remedy: "replace it with the file itself"}
		}
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return &Error{Path: name, Reason: "git ignores it, so it is not deployed", Remedy: "change .gitignore: " + name + " belongs into git"}
		}
		return &Error{Path: name, Reason: "there is no such file", Remedy: remedy}
	}
	return nil
}

func checkSize(files []file) error {
	var sum int64
	for _, f := range files {
		sum += f.info.Size()
	}
	if len(files) > maxEntries {
		return tooMuch(fmt.Sprintf("there are %d files, more than the %d that can be deployed", len(files), maxEntries))
	}
	if sum <= maxSize {
		return nil
	}
	biggest := slices.SortedFunc(slices.Values(files), func(a, b file) int { return int(b.info.Size() - a.info.Size()) })
	var names []string
	for _, f := range biggest[:min(3, len(biggest))] {
		names = append(names, fmt.Sprintf("%s (%d KiB)", f.name, f.info.Size()>>10))
	}
	return tooMuch(fmt.Sprintf("the files are %d MiB, more than the %d MiB that can be deployed; the biggest: %s",
		sum>>20, maxSize>>20, strings.Join(names, ", ")))
}

func tooMuch(reason string) error {
	return &Error{Path: nixDir, Reason: reason, Remedy: "let git ignore what does not belong to the configuration"}
}
