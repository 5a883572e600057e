package tree

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"path"
	"slices"
	"strings"
)

const nixStore = "/nix/store/"

// StorePath is where Nix puts the tree when it evaluates it as a "path:" flake:
// "/nix/store/HASH-source". Paths of the configuration that lie below it are files
// of this tree, others are not.
func (t *Tree) StorePath() string {
	sum := sha256.New()
	n := narWriter{sum}
	n.words("nix-archive-1")
	t.archiveFolder(n, t.manifest.entries, "")
	return storePath("source", sum)
}

// StoredFile finds the file of the tree that Nix copies to a store path by itself,
// as "${./secrets.yaml}" makes it.
func (t *Tree) StoredFile(stored string) (file string, ok bool) {
	_, name, ok := strings.Cut(strings.TrimPrefix(stored, nixStore), "-")
	if !ok || !strings.HasPrefix(stored, nixStore) {
		return "", false
	}
	for _, e := range t.manifest.entries {
		if path.Base(e.Path) != name || e.Type == TypeLink {
			continue
		}
		sum := sha256.New()
		n := narWriter{sum}
		n.words("nix-archive-1")
		t.archiveEntry(n, e)
		if storePath(name, sum) == stored {
			return e.Path, true
		}
	}
	return "", false
}

// narWriter writes the Nix archive format: strings with their length, padded to
// eight bytes.
type narWriter struct{ io.Writer }

func (n narWriter) words(words ...string) {
	for _, word := range words {
		n.word([]byte(word))
	}
}

func (n narWriter) word(data []byte) {
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(data)))
	_, _ = n.Write(length[:]) // a hash takes everything
	_, _ = n.Write(data)
	_, _ = n.Write(make([]byte, (8-len(data)%8)%8))
}

// archiveFolder writes the folder at prefix ("" or ending in a slash), whose
// files are entries. Nix sorts the names of one folder, which is not the order of
// whole paths: "a-b" comes before "a/b" there, and after the folder "a" here.
func (t *Tree) archiveFolder(n narWriter, entries []Entry, prefix string) {
	type child struct {
		name    string
		entries []Entry
	}
	byName := map[string]*child{}
	var children []*child
	for _, e := range entries {
		name, _, _ := strings.Cut(strings.TrimPrefix(e.Path, prefix), "/")
		if byName[name] == nil {
			byName[name] = &child{name: name}
			children = append(children, byName[name])
		}
		byName[name].entries = append(byName[name].entries, e)
	}
	slices.SortFunc(children, func(a, b *child) int { return cmp.Compare(a.name, b.name) })
	n.words("(", "type", "directory")
	for _, c := range children {
		n.words("entry", "(", "name", c.name, "node")
		if c.entries[0].Path == prefix+c.name {
			t.archiveEntry(n, c.entries[0])
		} else {
			t.archiveFolder(n, c.entries, prefix+c.name+"/")
		}
		n.words(")")
	}
	n.words(")")
}

func (t *Tree) archiveEntry(n narWriter, e Entry) {
	switch e.Type {
	case TypeLink:
		n.words("(", "type", "symlink", "target", e.Target, ")")
		return
	case TypeExecutable:
		n.words("(", "type", "regular", "executable", "", "contents")
	default:
		n.words("(", "type", "regular", "contents")
	}
	n.word(t.content[e.Path])
	n.words(")")
}

// storePath names what has the given NAR hash, as Nix does.
func storePath(name string, nar interface{ Sum([]byte) []byte }) string {
	fingerprint := "source:sha256:" + hex.EncodeToString(nar.Sum(nil)) + ":/nix/store:" + name
	full := sha256.Sum256([]byte(fingerprint))
	var short [20]byte
	for i, b := range full {
		short[i%len(short)] ^= b
	}
	return nixStore + nixBase32(short[:]) + "-" + name
}

// nixBase32 is Nix's own: another alphabet, and the last digit first.
func nixBase32(data []byte) string {
	const alphabet = "0123456789abcdfghijklmnpqrsvwxyz"
	var out bytes.Buffer
	for digit := (len(data)*8 - 1) / 5; digit >= 0; digit-- {
		bit := digit * 5
		at, shift := bit/8, bit%8
		value := uint(data[at]) >> shift
		if at+1 < len(data) {
			value |= uint(data[at+1]) << (8 - shift)
		}
		out.WriteByte(alphabet[value&0x1f])
	}
	return out.String()
}
