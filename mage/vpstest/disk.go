package vpstest

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const fillFile = "var/filled"

// fillDisk uses up what is free.
func (s *Server) fillDisk() error {
	if !s.ownDisk {
		return errors.New("filling the disk needs WithDiskSize")
	}
	file, err := os.Create(s.Path(fillFile))
	if err != nil {
		return err
	}
	defer file.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		if err := fillBy(file, make([]byte, size)); err != nil {
			return err
		}
	}
	return nil
}

func fillBy(to io.Writer, block []byte) error {
	for {
		if _, err := to.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// FillDisk uses up what is free on the server (needs [WithDiskSize]).
func (s *Server) FillDisk() error { return s.fillDisk() }

// FreeDisk takes away what filled the disk.
func (s *Server) FreeDisk() error { return os.Remove(s.Path(fillFile)) }
