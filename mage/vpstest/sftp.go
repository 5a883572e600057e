package vpstest

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/pkg/sftp"
)

// sftp serves files of the server's root and of nothing else: "/" is that
// folder, and a relative path begins in the login folder.
func (l *login) sftp() {
	if speak := l.conn.link.SFTP; speak != nil {
		speak(l.channel)
		return
	}
	root, err := os.OpenRoot(l.server.root)
	if err != nil {
		return
	}
	defer root.Close()
	files := &files{root: root, limit: l.conn.link.UploadLimit}
	handlers := sftp.Handlers{FileGet: files, FilePut: files, FileCmd: files, FileList: files}
	server := sftp.NewRequestServer(l.channel, handlers, sftp.WithStartDirectory(l.server.home()))
	_ = server.Serve()
	// No exit status, nor an end of output before it: an answer may still be on its
	// way, and a channel may not be written to and half closed at once.
	_ = server.Close()
}

// files are the operations of SFTP on a root.
type files struct {
	root  *os.Root
	limit int64 // bytes until the disk is full; 0 is never

	mu      sync.Mutex
	written int64
}

// errFull becomes SSH_FX_FAILURE, which is all that OpenSSH says about a full
// disk.
var errFull = errors.New("no space left on device")

func local(path string) string {
	if path = strings.Trim(path, "/"); path == "" {
		return "."
	}
	return path
}

func (f *files) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	return f.root.Open(local(r.Filepath))
}

func (f *files) Filewrite(r *sftp.Request) (io.WriterAt, error) { return f.OpenFile(r) }

func (f *files) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) {
	file, err := f.root.OpenFile(local(r.Filepath), openFlags(r.Pflags()), 0o644)
	if err != nil {
		return nil, err
	}
	return &upload{file, f}, nil
}

func openFlags(p sftp.FileOpenFlags) int {
	flags := os.O_RDONLY
	switch {
	case p.Read && p.Write:
		flags = os.O_RDWR
	case p.Write:
		flags = os.O_WRONLY
	}
	if p.Creat {
		flags |= os.O_CREATE
	}
	if p.Trunc {
		flags |= os.O_TRUNC
	}
	if p.Excl {
		flags |= os.O_EXCL
	}
	return flags
}

// upload is a file that is written until the disk is full.
type upload struct {
	*os.File
	files *files
}

func (u *upload) WriteAt(p []byte, offset int64) (int, error) {
	u.files.mu.Lock()
	u.files.written += int64(len(p))
	full := u.files.limit > 0 && u.files.written > u.files.limit
	u.files.mu.Unlock()
	if full {
		return 0, errFull
	}
	return u.File.WriteAt(p, offset)
}

func (f *files) Filecmd(r *sftp.Request) error {
	path, target := local(r.Filepath), local(r.Target)
	switch r.Method {
	case "Setstat":
		return f.setstat(path, r)
	case "Rename":
		if _, err := f.root.Lstat(target); err == nil {
			return os.ErrExist
		}
		return f.root.Rename(path, target)
	case "Mkdir":
		return f.root.Mkdir(path, 0o755)
	case "Rmdir", "Remove":
		return f.root.Remove(path)
	case "Symlink":
		return f.root.Symlink(r.Filepath, target)
	case "Link":
		return f.root.Link(path, target)
	}
	return sftp.ErrSSHFxOpUnsupported
}

func (f *files) setstat(path string, r *sftp.Request) error {
	flags, attributes := r.AttrFlags(), r.Attributes()
	if flags.Permissions {
		if err := f.root.Chmod(path, attributes.FileMode().Perm()); err != nil {
			return err
		}
	}
	if flags.Acmodtime {
		if err := f.root.Chtimes(path, attributes.AccessTime(), attributes.ModTime()); err != nil {
			return err
		}
	}
	if !flags.Size {
		return nil
	}
	file, err := f.root.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Truncate(int64(attributes.Size))
}

// PosixRename replaces the target, as OpenSSH's extension does.
func (f *files) PosixRename(r *sftp.Request) error {
	return f.root.Rename(local(r.Filepath), local(r.Target))
}

func (f *files) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	path := local(r.Filepath)
	if r.Method == "List" {
		return f.list(path)
	}
	info, err := f.root.Stat(path)
	return listing{info}, err
}

// Lstat is Stat that does not follow a symlink.
func (f *files) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	info, err := f.root.Lstat(local(r.Filepath))
	return listing{info}, err
}

// Readlink reads a symlink.
func (f *files) Readlink(path string) (string, error) { return f.root.Readlink(local(path)) }

func (f *files) list(path string) (sftp.ListerAt, error) {
	dir, err := f.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	infos, err := dir.Readdir(-1)
	return listing(infos), err
}

type listing []os.FileInfo

func (l listing) ListAt(to []os.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(to, l[offset:])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}
