package tree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dagadbm/vps/mage/internal/next"
)

// read makes the entry of the file, with the content of a regular one.
func (f file) read(dir string) (Entry, []byte, error) {
	full := filepath.Join(dir, f.name)
	e := Entry{Type: TypeFile, Path: f.path}
	if f.info.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(full)
		if err != nil {
			return e, nil, unreadable(f.name, err)
		}
		if reason := checkText(target); reason != "" {
			return e, nil, &Error{Path: f.name, Reason: "where it links to: " + reason, Next: next.Words("rename what it links to")}
		}
		e.Type, e.Target, e.Hash, e.Size = TypeLink, target, hash([]byte(target)), int64(len(target))
		return e, nil, nil
	}
	data, err := f.content(full)
	if err != nil {
		return e, nil, err
	}
	if f.info.Mode()&0o100 != 0 {
		e.Type = TypeExecutable
	}
	e.Hash, e.Size = hash(data), int64(len(data))
	return e, data, nil
}

// content reads a regular file, and makes sure that it was the same file from
// the listing to the last byte: half of an old and half of a new version would
// have a valid hash, too.
func (f file) content(full string) ([]byte, error) {
	r, err := f.open(full)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return f.drain(r, full)
}

// open opens the file if it still is the one that was listed.
func (f file) open(full string) (*os.File, error) {
	// The flags keep a link or a pipe that was put there meanwhile from being
	// followed or waited for.
	r, err := os.OpenFile(full, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, fs.ErrNotExist) {
		return nil, f.changed()
	}
	if err != nil {
		return nil, unreadable(f.name, err)
	}
	if now, err := r.Stat(); err != nil || !f.same(now) {
		_ = r.Close()
		return nil, f.changed()
	}
	return r, nil
}

// drain reads the file to its end, and looks once more whether it is the same.
func (f file) drain(r *os.File, full string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, f.info.Size()+1))
	if err != nil {
		return nil, unreadable(f.name, err)
	}
	if now, err := os.Lstat(full); err != nil || !f.same(now) || int64(len(data)) != now.Size() {
		return nil, f.changed()
	}
	return data, nil
}

func (f file) same(now fs.FileInfo) bool {
	return os.SameFile(f.info, now) && f.info.Mode() == now.Mode() &&
		f.info.Size() == now.Size() && f.info.ModTime().Equal(now.ModTime())
}

func (f file) changed() error {
	return &Error{
		Path:   f.name,
		Reason: "it changed while it was being read",
		Next:   next.Say("try again when nothing writes to %s any more", f.name),
	}
}
