package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/dagadbm/vps/mage/internal/next"
)

// file is a file or link of the project, before it is read.
type file struct {
	name string // in the project, with slashes
	path string // in the tree
	info fs.FileInfo
}

// treePath says where a file of the project is in the tree; deployed is false
// for what stays on this machine.
func (p Project) treePath(name string) (path string, deployed bool) {
	if p.root() {
		return name, !kept(name)
	}
	inner, ok := strings.CutPrefix(name, p.nix()+"/")
	if !ok {
		return name, true
	}
	return inner, name != ownGo
}

// ownGo is the one Go file in nix/ that belongs to the targets: every other one may
// be a program that the flake packages.
const ownGo = "nix/embed.go"

// Source names the file of the project that is at a path of the tree, or would be.
func (p Project) Source(path string) string {
	if path == secretsFile || path == sopsConfig || slices.Contains(p.Sops, path) || p.root() {
		return path
	}
	return p.nix() + "/" + path
}

// statAll looks at what was listed, sorted by name. What is gone is left out:
// git also lists what was deleted but not committed, or is not checked out.
func (p Project) statAll(names []string) ([]file, error) {
	var files []file
	var bad problems
	folders := make(map[string]bool)
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for _, name := range names {
		path, deployed := p.treePath(name)
		if !deployed || !inFolders(p.Dir, name, folders) {
			continue
		}
		reason := checkPath(path)
		if path != name && (path == secretsFile || path == sopsConfig || slices.Contains(p.Sops, path)) {
			reason = fmt.Sprintf("its place on the server is that of %q", path)
		}
		if reason != "" {
			bad.add(&Error{Path: name, Reason: reason, Next: next.Words("rename it, or let git ignore it")})
			continue
		}
		info, err := os.Lstat(filepath.Join(p.Dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		case err != nil:
			bad.add(unreadable(name, err))
		case info.IsDir(): // in place of a deleted file; what is in it is listed too
		default:
			bad.add(checkType(name, info))
			files = append(files, file{name: name, path: path, info: info})
		}
	}
	return files, bad.err()
}

// inFolders says whether everything above name is a real folder. Behind a link
// that took the place of a folder, the files of the folder are gone.
func inFolders(dir, name string, known map[string]bool) bool {
	for parent := range parents(name) {
		real, found := known[parent]
		if !found {
			info, err := os.Lstat(filepath.Join(dir, parent))
			real = err != nil || info.IsDir() // an error shows at the file itself
			known[parent] = real
		}
		if !real {
			return false
		}
	}
	return true
}

func checkType(name string, info fs.FileInfo) error {
	kinds := map[fs.FileMode]string{
		fs.ModeSocket:                     "a socket",
		fs.ModeNamedPipe:                  "a named pipe",
		fs.ModeDevice:                     "a device",
		fs.ModeDevice | fs.ModeCharDevice: "a device",
	}
	mode := info.Mode().Type()
	if mode == 0 || mode == fs.ModeSymlink {
		return nil
	}
	kind, ok := kinds[mode]
	if !ok {
		kind = "neither a file nor a link"
	}
	return &Error{Path: name, Reason: "it is " + kind, Next: next.Words("remove it, or let git ignore it")}
}
