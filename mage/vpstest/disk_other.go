//go:build !linux

package vpstest

import (
	"errors"
	"os"
)

func (s *Server) mountDisk() error {
	if s.config.diskSize != 0 {
		return errors.New("a disk of its own for the test server needs Linux")
	}
	return os.MkdirAll(s.root, 0o755)
}

func (s *Server) unmountDisk() error { return nil }
