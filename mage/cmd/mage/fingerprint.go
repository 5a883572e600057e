package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/magefile/mage/mage"
)

// sources names a module, and the state of everything that its targets are
// compiled from.
type sources struct{ module, files string }

// manyFiles are more than are quicker to look at than go is to ask.
const manyFiles = 20_000

var (
	errNoModule  = errors.New("no go.mod above")
	errElsewhere = errors.New("sources outside the module")
	errMany      = errors.New("too many files")
)

// fingerprint looks at the module around dir: path, size, mode and time of every
// file, which is what go itself goes by, and the variables and files that go reads.
// Modules in the cache never change under a version of go.mod. Not looked at are
// folders that begin with a dot, which hold no packages, and git's and this
// project's records, which change without end.
func fingerprint(dir string) (sources, error) {
	root, err := moduleRoot(dir)
	if err != nil {
		return sources{}, err
	}
	if err := selfContained(root); err != nil {
		return sources{}, err
	}
	sum := sha256.New()
	surroundings(sum)
	if err := walk(sum, root); err != nil {
		return sources{}, err
	}
	name := sha256.Sum256([]byte(root))
	return sources{hex.EncodeToString(name[:8]), hex.EncodeToString(sum.Sum(nil)[:16])}, nil
}

func moduleRoot(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoModule
		}
		dir = parent
	}
}

// replaced is a module that lies in a folder: it has no version to go by.
var replaced = regexp.MustCompile(`=>\s*"?(\.|/|[A-Za-z]:)`)

// selfContained fails if go would read sources that lie elsewhere.
func selfContained(root string) error {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	// Magefiles in a folder may be a module of their own, with other sources.
	_, err = os.Stat(filepath.Join(root, mage.MagefilesDirName, "go.mod"))
	if err == nil || replaced.Match(mod) {
		return errElsewhere
	}
	switch os.Getenv("GOWORK") {
	case "off":
		return nil
	case "":
	default:
		return errElsewhere
	}
	for dir := root; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return errElsewhere
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// surroundings adds what else decides how go builds. Its version is in the name
// that mage gives a program.
func surroundings(sum hash.Hash) {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return !strings.HasPrefix(v, "GO") && !strings.HasPrefix(v, "CGO_") &&
			!strings.HasPrefix(v, "CC=") && !strings.HasPrefix(v, "CXX=")
	})
	slices.Sort(env)
	fmt.Fprintf(sum, "%q\n", env)
	file := os.Getenv("GOENV")
	if config, err := os.UserConfigDir(); file == "" && err == nil {
		file = filepath.Join(config, "go/env")
	}
	if info, err := os.Stat(file); err == nil {
		add(sum, file, info)
	}
}

// generated is a file that mage makes for as long as it compiles.
const generated = "mage_output_file.go"

func walk(sum hash.Hash, root string) error {
	count := 0
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || entry.Name() == generated:
			return nil
		}
		if count++; count > manyFiles {
			return errMany
		}
		// What a link leads to counts; one that leads nowhere compiles nothing.
		info, err := os.Stat(path)
		if err != nil {
			info, err = entry.Info()
		}
		if err != nil {
			return err
		}
		add(sum, path, info)
		return nil
	})
}

func add(sum hash.Hash, path string, info fs.FileInfo) {
	fmt.Fprintf(sum, "%q %d %o %d\n", path, info.Size(), info.Mode(), info.ModTime().UnixNano())
}
