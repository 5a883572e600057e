package secrets

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const plainPrefix = "vps-secrets-"

// plainDir is a folder of mode 0700 for plaintext. It is locked while its owner
// lives, so that the next run knows which ones a kill left behind.
type plainDir struct {
	path string
	lock *os.File
}

// plainBases are the places for plaintext, best first: memory before disk.
func plainBases(getenv func(string) string) []string {
	var out []string
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && inMemory(dir) {
		out = append(out, dir)
	}
	if inMemory("/dev/shm") {
		out = append(out, "/dev/shm")
	}
	return append(out, os.TempDir())
}

// newPlainDir makes a folder in the first base that takes one.
func newPlainDir(bases []string) (*plainDir, error) {
	var faults []error
	for _, base := range bases {
		dir, err := newPlainDirIn(base)
		if err == nil {
			return dir, nil
		}
		faults = append(faults, err)
	}
	return nil, fail(errors.Join(faults...), "Make room in one of them, or point TMPDIR at a private folder.", "making a private folder for the plaintext")
}

func newPlainDirIn(base string) (*plainDir, error) {
	for range 10 {
		path, err := os.MkdirTemp(base, plainPrefix)
		if err != nil {
			return nil, err
		}
		lock, err := lockPlain(path)
		if err == nil {
			return &plainDir{path, lock}, nil
		}
		_ = os.Remove(path) // a sweep took it in the moment before the lock
	}
	return nil, fmt.Errorf("cannot lock a folder in %q", base)
}

// lockPlain locks a folder that is ours and still there. The lock ends with the
// process, however that ends; an editor does not inherit it.
func lockPlain(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), path)
	if err := lockOwn(dir, path); err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

func lockOwn(dir *os.File, path string) error {
	var opened, named unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &opened); err != nil {
		return err
	}
	if int(opened.Uid) != os.Getuid() {
		return fmt.Errorf("%q belongs to somebody else", path)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := unix.Lstat(path, &named); err != nil || named.Ino != opened.Ino || named.Dev != opened.Dev {
		return fmt.Errorf("%q is gone", path)
	}
	return nil
}

// remove removes the folder and all that an editor put beside the file.
func (d *plainDir) remove() error {
	err := os.RemoveAll(d.path)
	d.lock.Close()
	if err != nil {
		return fail(err, fmt.Sprintf("Remove %s by hand: it holds your secrets in plain text.", d.path), "removing the plaintext")
	}
	return nil
}

// sweep removes folders whose owner was killed and returns how many.
func sweep(bases []string) int {
	count := 0
	for _, base := range bases {
		found, _ := filepath.Glob(filepath.Join(base, plainPrefix+"*")) // only a bad pattern is an error
		for _, path := range found {
			lock, err := lockPlain(path)
			if err != nil {
				continue // alive, or not ours
			}
			if (&plainDir{path, lock}).remove() == nil {
				count++
			}
		}
	}
	return count
}
