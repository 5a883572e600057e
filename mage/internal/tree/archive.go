package tree

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Archive builds a tar file in memory. Everything in it belongs to 0:0 and
// dates from the epoch, so the same members in the same order give the same
// bytes. The folders above a member are added by themselves, with mode 0755.
// The first error sticks and is returned by [Archive.Bytes].
type Archive struct {
	buf     bytes.Buffer
	w       *tar.Writer
	members map[string]byte // path -> tar type
	err     error
}

// NewArchive gives an empty archive.
func NewArchive() *Archive {
	a := &Archive{members: make(map[string]byte)}
	a.w = tar.NewWriter(&a.buf)
	return a
}

// Add appends a regular file. Of mode only the permission bits count.
func (a *Archive) Add(name string, mode fs.FileMode, data []byte) {
	a.member(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     name,
		Mode:     int64(mode.Perm()),
		Size:     int64(len(data)),
	}, data)
}

// AddTree appends entries of t below the folder prefix, which is added even if
// there are none. Files get 0644 or 0755.
func (a *Archive) AddTree(prefix string, t *Tree, entries []Entry) {
	a.folders(prefix + "/")
	for _, e := range entries {
		name := prefix + "/" + e.Path
		if e.Type == TypeLink {
			a.member(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: e.Target, Mode: 0o777}, nil)
			continue
		}
		data, ok := t.File(e.Path)
		if !ok || hash(data) != e.Hash {
			a.fail(fmt.Errorf("archive %q: the tree does not hold this file", e.Path))
			return
		}
		mode := fs.FileMode(0o644)
		if e.Type == TypeExecutable {
			mode = 0o755
		}
		a.Add(name, mode, data)
	}
}

// Bytes ends the archive and gives it, or the first error of what was added.
// What is added afterwards is an error.
func (a *Archive) Bytes() ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	if err := a.w.Close(); err != nil {
		return nil, fmt.Errorf("end the archive: %w", err)
	}
	return a.buf.Bytes(), nil
}

// WriteArchive writes a tar with what the difference adds and changes below
// "tree/".
func (t *Tree) WriteArchive(w io.Writer, d Difference) error {
	a := NewArchive()
	a.AddTree("tree", t, d.Upload())
	data, err := a.Bytes()
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

func (a *Archive) member(h *tar.Header, data []byte) {
	if reason := checkPath(h.Name); reason != "" {
		a.fail(fmt.Errorf("archive %q: %s", h.Name, reason))
	}
	if _, twice := a.members[h.Name]; twice {
		a.fail(fmt.Errorf("archive %q: it is there twice", h.Name))
	}
	a.folders(h.Name)
	a.write(h, data)
}

// folders adds the folders above name that are not there yet, outermost first.
func (a *Archive) folders(name string) {
	var missing []string
	for dir := range parents(name) {
		kind, found := a.members[dir]
		if found && kind != tar.TypeDir {
			a.fail(fmt.Errorf("archive %q: %q is not a folder", name, dir))
		}
		if found {
			break
		}
		missing = append(missing, dir)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		a.members[missing[i]] = tar.TypeDir
		a.write(&tar.Header{Typeflag: tar.TypeDir, Name: missing[i] + "/", Mode: 0o755}, nil)
	}
}

func (a *Archive) write(h *tar.Header, data []byte) {
	if a.err != nil {
		return
	}
	if h.Typeflag != tar.TypeDir {
		a.members[h.Name] = h.Typeflag
	}
	h.ModTime = time.Unix(0, 0)
	if err := a.w.WriteHeader(h); err != nil {
		a.fail(fmt.Errorf("archive %q: %w", h.Name, err))
		return
	}
	if _, err := a.w.Write(data); err != nil {
		a.fail(fmt.Errorf("archive %q: %w", h.Name, err))
	}
}

func (a *Archive) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}
