package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/pkg/sftp"
)

// Upload creates the file path on the server with mode (permission bits, reduced
// by the server's umask) and data as its content. It takes two round trips: open, and
// all writes together. That the file is closed is asked for and not waited for:
// its content is there, and a reader that must be sure of it compares a hash. The
// file must not exist. When it cannot be written whole it is removed again, as far
// as the connection lets us.
func (c *Client) Upload(ctx context.Context, path string, mode os.FileMode, data []byte) error {
	state, err := c.openSFTP(ctx)
	if err != nil {
		return fmt.Errorf("uploading %q: %w", path, err)
	}
	src := &source{r: bytes.NewReader(data)}
	defer src.close() // data is the caller's again
	result := make(chan error, 1)
	go func() { result <- state.upload(path, mode, src) }()
	select {
	case err = <-result:
	case <-ctx.Done():
		src.close()
		return fmt.Errorf("uploading %q to %s: %w", path, c.target.name(), context.Cause(ctx))
	case <-c.done:
		err = ErrLost
	}
	switch {
	case err == nil:
		return nil
	case c.link.reason() != nil:
		return c.lost("upload of " + shorten(path))
	default:
		return &hinted{fmt.Errorf("uploading %q to %s: %s", path, c.target.name(), printable(err.Error(), maxErrorText)),
			"check space and permissions on the server, and that the file does not exist yet"}
	}
}

func (s *sftpState) upload(path string, mode os.FileMode, src *source) error {
	s.modes.set(path, mode)
	f, err := s.client.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	if err := fill(f, src); err != nil {
		_ = s.client.Remove(path)
		return err
	}
	return nil
}

func fill(f *sftp.File, src *source) error {
	size := int64(src.Len())
	n, err := f.ReadFrom(src)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	go func() { _ = f.Close() }() // ends with the connection at the latest
	return nil
}

// source reads data until it is taken away.
type source struct {
	mu     sync.Mutex
	r      *bytes.Reader
	closed bool
}

// Len tells the sftp package that several writes may be under way at once.
func (s *source) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Len()
}

func (s *source) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	return s.r.Read(b)
}

func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
