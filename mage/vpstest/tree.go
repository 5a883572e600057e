package vpstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func readTree(dir string) (map[string]string, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if entry.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			files[name] = "-> " + target
			return err
		}
		text, err := os.ReadFile(path)
		files[name] = string(text)
		return err
	})
	return files, err
}

// manifestOf lists a tree as the laptop and the server do: "f", "x" for an
// executable or "l" for a symlink, the hash of the content or the target, the
// path; sorted by the bytes of the path.
func manifestOf(tree fs.FS) string {
	var lines [][2]string
	_ = fs.WalkDir(tree, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		kind, content := "f", ""
		if entry.Type() == fs.ModeSymlink {
			kind = "l"
			content, _ = fs.ReadLink(tree, path)
		} else {
			text, _ := fs.ReadFile(tree, path)
			content = string(text)
			if info, err := entry.Info(); err == nil && info.Mode()&0o100 != 0 {
				kind = "x"
			}
		}
		lines = append(lines, [2]string{path, fmt.Sprintf("%s %s %s\n", kind, hexHash(content), path)})
		return nil
	})
	slices.SortFunc(lines, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line[1])
	}
	return b.String()
}

func hexHash(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}
