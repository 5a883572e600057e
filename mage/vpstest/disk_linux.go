package vpstest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func (s *Server) mountDisk() error {
	if err := os.MkdirAll(s.root, 0o755); err != nil || s.config.diskSize == 0 {
		return err
	}
	options := fmt.Sprintf("size=%d,mode=755", s.config.diskSize)
	if err := unix.Mount("vpstest", s.root, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("mounting a disk for the test server (needs root): %w", err)
	}
	s.ownDisk = true
	return nil
}

func (s *Server) unmountDisk() error {
	if !s.ownDisk {
		return nil
	}
	return unix.Unmount(s.root, unix.MNT_DETACH)
}
