package vpstest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Loss is what a power cut does to what was not synced.
type Loss int

const (
	// Forgotten: the persistent files are as they were at the last sync.
	Forgotten Loss = iota
	// Emptied: names are as they were left, but every file that was written since
	// the last sync is empty, which is what file systems do that keep a journal of
	// names only.
	Emptied
)

// What survives a restart, apart from the store.
var persistent = []string{"boot", "etc", "home", "nix/var", "root", "var"}

// synced is what the disk is sure to hold: a copy in a folder of its own.
func (s *Server) syncedDir() string { return filepath.Join(s.base, "synced") }

// snapshot is what sync does.
func (s *Server) snapshot() error {
	if !s.config.keepUnsynced {
		return nil
	}
	s.synced.Lock()
	defer s.synced.Unlock()
	next := s.syncedDir() + ".new"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	for _, dir := range persistent {
		if err := copyTree(s.Path(dir), filepath.Join(next, dir)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.syncedDir()); err != nil {
		return err
	}
	return os.Rename(next, s.syncedDir())
}

// syncFile makes the disk hold one file as it is.
func (s *Server) syncFile(path string) error {
	if !s.config.keepUnsynced {
		return nil
	}
	s.synced.Lock()
	defer s.synced.Unlock()
	text, err := os.ReadFile(s.Path(path))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.syncedDir(), path), text, 0o644)
}

// PowerCut is a [Server.Restart] after which what was not synced is lost. It
// needs [WithPowerCuts].
func (s *Server) PowerCut(loss Loss) error {
	if !s.config.keepUnsynced {
		return errors.New("a power cut needs WithPowerCuts")
	}
	return s.restart(func() error { return s.lose(loss) })
}

func (s *Server) lose(loss Loss) error {
	s.synced.Lock()
	defer s.synced.Unlock()
	for _, dir := range persistent {
		now, then := s.Path(dir), filepath.Join(s.syncedDir(), dir)
		if loss == Emptied {
			if err := emptyChanged(now, s.syncedDir()); err != nil {
				return err
			}
			continue
		}
		if err := os.RemoveAll(now); err != nil {
			return err
		}
		if err := copyTree(then, now); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies files with their modes and times, folders and symlinks. A file
// that vanishes meanwhile is left out: the server goes on working during a sync.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(from, path)
		err = copyEntry(path, filepath.Join(to, relative), entry)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func copyEntry(from, to string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	switch {
	case entry.IsDir():
		return os.MkdirAll(to, info.Mode().Perm()|0o700)
	case entry.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case !entry.Type().IsRegular():
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, text, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Chtimes(to, time.Time{}, info.ModTime())
}

// emptyChanged empties the files below dir whose content no file of the last
// sync had. Renamed files keep theirs: their content was on the disk.
func emptyChanged(dir, synced string) error {
	known, err := contents(synced)
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || known[hexHash(string(text))] {
			return err
		}
		return os.Truncate(path, 0)
	})
}

func contents(dir string) (map[string]bool, error) {
	known := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		known[hexHash(string(text))] = true
		return err
	})
	return known, err
}
