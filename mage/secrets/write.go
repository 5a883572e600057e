package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// lockWait is how long to wait for another of our processes: it holds the lock
// for one write.
const lockWait = 5 * time.Second

// replaceFile replaces path by data in one step, or creates it with mode if
// there is none. The old file stays on every failure, a full disk included. If
// path no longer holds old (nil: does not exist), the error is [ErrChanged].
func replaceFile(ctx context.Context, path string, old, data []byte, mode fs.FileMode) error {
	path, err := resolve(path)
	if err != nil {
		return err
	}
	dir, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	removeStale(path)
	now, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		now, err = nil, nil
	} else if err == nil && now == nil {
		now = []byte{}
	}
	if err != nil {
		return fmt.Errorf("comparing before writing: %w", err)
	}
	if (now == nil) != (old == nil) || !bytes.Equal(now, old) {
		return ErrChanged
	}
	return writeAtomic(ctx, dir, path, data, mode)
}

func writeAtomic(ctx context.Context, dir *os.File, path string, data []byte, mode fs.FileMode) error {
	pending, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir.Name()),
		renameio.WithPermissions(mode), renameio.IgnoreUmask(), renameio.WithExistingPermissions())
	if err != nil {
		return fmt.Errorf("making a new file beside the old one: %w", err)
	}
	defer pending.Cleanup()
	if _, err := pending.Write(data); err != nil {
		return fmt.Errorf("writing the new file: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := pending.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing the new file: %w", err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("the new file is in place, but may not survive a power cut: %w", err)
	}
	return nil
}

// resolve follows a symlink, so that its target is replaced and not the link.
func resolve(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return target, err
}

// lockDir opens a folder and locks it against our other processes. Closing it,
// or dying, gives the lock back; no lock file is left.
func lockDir(ctx context.Context, path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		if wait(ctx, 20*time.Millisecond) != nil {
			break
		}
	}
	dir.Close()
	return nil, fmt.Errorf("locking %q: %w", path, err)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// removeStale removes what a killed writer left beside path; the caller holds
// the lock, so there is no living one.
func removeStale(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return // the write that follows says why
	}
	stale := regexp.MustCompile(`^\.` + regexp.QuoteMeta(filepath.Base(path)) + `[0-9]{6,}$`)
	for _, entry := range entries {
		if stale.MatchString(entry.Name()) {
			_ = os.Remove(filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
}

// checkWritable finds out before a person edits whether the result can be kept.
func checkWritable(path string) error {
	path, err := resolve(path)
	if err != nil {
		return err
	}
	probe, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"000000")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
