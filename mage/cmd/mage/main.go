// Mage runs the targets of a magefile, exactly as github.com/magefile/mage does,
// and starts them faster.
//
// Mage asks go at every start whether any package of the targets changed. With all
// that sops brings along these are over a thousand, which takes most of a second.
// This program keeps what it compiled under a fingerprint of the sources (see
// [fingerprint]), and asks go only when that is a new one. Where a fingerprint
// cannot tell all that counts (a workspace, a replaced module, flags that change
// how it is built), it is mage and nothing else.
package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/magefile/mage/mage"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	inv, command, err := mage.Parse(io.Discard, io.Discard, args)
	if err != nil || !quickly(command, inv) {
		return mage.Main()
	}
	now, err := fingerprint(inv.Dir)
	if err != nil {
		return mage.Main()
	}
	if inv.CacheDir, err = cacheFor(inv.CacheDir, now); err != nil {
		return mage.Main()
	}
	// Now the name of the folder says all that mage would ask go about.
	inv.HashFast = true
	inv.Stdin, inv.Stdout, inv.Stderr = os.Stdin, os.Stdout, os.Stderr
	return mage.Invoke(inv)
}

// quickly says whether this is the start of a target, rather than something that
// only mage itself does.
func quickly(command mage.Command, inv mage.Invocation) bool {
	return command == mage.None && !inv.HashFast && !inv.Force && !inv.Keep && !inv.Debug && !inv.Autocomplete
}

// bySources is our folder in mage's cache. -clean leaves folders alone, so what is
// in it can be told by its age only: see [prune].
const bySources = "by-sources"

// kept is how many compiled targets of one module stay: each is a hundred megabytes.
const kept = 2

// cacheFor is the folder for what is compiled from these sources. The first time,
// it makes room for it.
func cacheFor(cache string, now sources) (string, error) {
	module := filepath.Join(cache, bySources, now.module)
	dir := filepath.Join(module, now.files)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(module, 0o755); err != nil {
		return "", err
	}
	if err := prune(module, kept-1); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o755)
}

// prune removes all folders in dir but the newest. A program that runs goes on.
func prune(dir string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return made(b).Compare(made(a)) })
	for _, old := range entries[min(keep, len(entries)):] {
		if err := os.RemoveAll(filepath.Join(dir, old.Name())); err != nil {
			return err
		}
	}
	return nil
}

// made is when a folder got what is in it, or the beginning of time.
func made(entry fs.DirEntry) time.Time {
	info, err := entry.Info()
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
