package container

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
)

// File is one entry of a tree: a regular file, a folder (Mode.IsDir) or a
// symbolic link (LinkTarget not empty).
type File struct {
	Path       string      // relative, with slashes
	Mode       fs.FileMode // type and permissions
	Data       []byte
	LinkTarget string
}

// member is a file at its final place in the container, with its exact mode.
type member struct {
	path string // relative to /; folders without a slash at the end
	dir  bool
	link string
	mode int64
	data []byte
}

func folder(name string, mode int64) member { return member{path: name, dir: true, mode: mode} }

func file(name string, mode int64, data []byte) member {
	return member{path: name, mode: mode, data: data}
}

// completeMark is the archive's last member. Its absence tells the entry
// script that the archive was cut between two members, which tar would not
// notice.
const completeMark = "tmp/vps/complete"

// writeArchive makes the tar archive that the entry script unpacks. The same
// members give the same bytes: no times, no owners but root.
func writeArchive(members []member) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, m := range append(members, file(completeMark, 0o600, nil)) {
		if err := w.WriteHeader(m.header()); err != nil {
			return nil, fmt.Errorf("archive %q: %w", m.path, err)
		}
		if _, err := w.Write(m.data); err != nil {
			return nil, fmt.Errorf("archive %q: %w", m.path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return archive.Bytes(), nil
}

func (m member) header() *tar.Header {
	h := &tar.Header{
		Typeflag: tar.TypeReg,
		Name:     m.path,
		Mode:     m.mode,
		Size:     int64(len(m.data)),
		ModTime:  time.Unix(0, 0),
	}
	switch {
	case m.dir:
		h.Typeflag, h.Name = tar.TypeDir, m.path+"/"
	case m.link != "":
		h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, m.link, 0
	}
	return h
}

// treeMembers puts a tree under root, a folder of mode 0700. In it folders are
// 0755 and files 0644 or 0755, whatever the laptop's umask was.
func treeMembers(root string, tree []File) ([]member, error) {
	members := []member{folder(root, 0o700)}
	have := map[string]bool{".": true}
	files := slices.Clone(tree)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range files {
		if err := f.check(); err != nil {
			return nil, err
		}
		if have[f.Path] && f.Mode.IsDir() {
			continue
		}
		if have[f.Path] {
			return nil, fmt.Errorf("tree: %q is there twice", f.Path)
		}
		members = addParents(members, root, path.Dir(f.Path), have)
		have[f.Path] = true
		members = append(members, f.member(root))
	}
	return members, nil
}

// addParents adds the folders that lead to name, outermost first.
func addParents(members []member, root, name string, have map[string]bool) []member {
	if have[name] {
		return members
	}
	members = addParents(members, root, path.Dir(name), have)
	have[name] = true
	return append(members, folder(path.Join(root, name), 0o755))
}

func (f File) member(root string) member {
	name := path.Join(root, f.Path)
	switch {
	case f.Mode.IsDir():
		return folder(name, 0o755)
	case f.LinkTarget != "":
		return member{path: name, link: f.LinkTarget, mode: 0o777}
	case f.Mode&0o111 != 0:
		return file(name, 0o755, f.Data)
	default:
		return file(name, 0o644, f.Data)
	}
}

// check refuses a path that would leave the tree, and a private key: Nix
// copies the whole tree into its store, which everybody may read.
func (f File) check() error {
	if !fs.ValidPath(f.Path) || f.Path == "." {
		return fmt.Errorf("tree: %q is not a relative path inside it", f.Path)
	}
	if f.Mode.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0 {
		return fmt.Errorf("tree: %q is neither a file, a folder nor a link", f.Path)
	}
	if privateKey.Match(f.Data) {
		return &SecretInTreeError{Path: f.Path}
	}
	return nil
}

// privateKey is an age identity (with or without post-quantum part) or the
// head of a PEM private key; not the mere mention of one in a comment.
var privateKey = regexp.MustCompile(`AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{50}|-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`)

// SecretInTreeError is a private key among the files that Nix would copy into
// its store.
type SecretInTreeError struct{ Path string }

// Error names the file.
func (e *SecretInTreeError) Error() string {
	return fmt.Sprintf("%q in the tree holds a private key, and Nix would copy it into its store", e.Path)
}

// NextStep is the next thing to do.
func (e *SecretInTreeError) NextStep() next.Step {
	return next.Say("move %q out of nix/, or put its content into secrets/secrets.yaml", e.Path)
}
