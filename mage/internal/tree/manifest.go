package tree

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// The types of an [Entry].
const (
	TypeFile       byte = 'f' // a regular file
	TypeExecutable byte = 'x' // a regular file that its owner may execute
	TypeLink       byte = 'l' // a symbolic link
)

// Entry is one file or symbolic link of a tree.
type Entry struct {
	Type   byte   // [TypeFile], [TypeExecutable] or [TypeLink]
	Hash   string // hex SHA-256 of the content, of a link's target for a link
	Target string // where a link points; "" if it comes from a parsed manifest
	Path   string // relative to the tree's root, with slashes
	Size   int64  // bytes; 0 if it comes from a parsed manifest
}

// Manifest is the canonical listing of a tree. The zero Manifest lists nothing,
// which is what a server without a tree has.
type Manifest struct {
	entries []Entry // sorted by Path, checked by newManifest
}

// Entries gives a copy of the entries, sorted by the bytes of their paths.
func (m Manifest) Entries() []Entry { return slices.Clone(m.entries) }

// Len is the number of entries.
func (m Manifest) Len() int { return len(m.entries) }

// Lookup finds the entry of a path.
func (m Manifest) Lookup(path string) (Entry, bool) {
	i, found := slices.BinarySearchFunc(m.entries, path, func(e Entry, p string) int {
		return cmp.Compare(e.Path, p)
	})
	if !found {
		return Entry{}, false
	}
	return m.entries[i], true
}

// Bytes is the canonical text, byte for byte what a server makes of the same
// files. Of no entries it is empty.
func (m Manifest) Bytes() []byte {
	var b bytes.Buffer
	for _, e := range m.entries {
		fmt.Fprintf(&b, "%c %s %s\n", e.Type, e.Hash, e.Path)
	}
	return b.Bytes()
}

// Digest is the hex SHA-256 of [Manifest.Bytes]: it names the tree.
func (m Manifest) Digest() string { return hash(m.Bytes()) }

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// newManifest sorts the entries and makes sure that they can exist side by
// side in one folder. It gives the path that cannot, and why.
func newManifest(entries []Entry) (m Manifest, path, reason string) {
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	dirs := make(map[string]bool)
	for i, e := range entries {
		if reason := checkPath(e.Path); reason != "" {
			return Manifest{}, e.Path, reason
		}
		if i > 0 && entries[i-1].Path == e.Path {
			return Manifest{}, e.Path, "the path is there twice"
		}
		for dir := range parents(e.Path) {
			dirs[dir] = true
		}
	}
	for _, e := range entries {
		if dirs[e.Path] {
			return Manifest{}, e.Path, "the path is a file and a folder at once"
		}
	}
	return Manifest{entries: entries}, "", ""
}
