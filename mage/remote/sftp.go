package remote

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// sftpState is one SFTP subsystem, being opened or open.
type sftpState struct {
	ready  chan struct{} // closed when client or err is set
	client *sftp.Client
	err    error
	modes  *modes
}

// PrepareSFTP opens the SFTP subsystem in the background.
func (c *Client) PrepareSFTP(ctx context.Context) {
	if ctx.Err() == nil {
		c.sftpState()
	}
}

// SFTP returns the connection's SFTP client, opened by the first call. It ends
// with the connection and need not be closed.
func (c *Client) SFTP(ctx context.Context) (*sftp.Client, error) {
	state, err := c.openSFTP(ctx)
	if err != nil {
		return nil, err
	}
	return state.client, nil
}

func (c *Client) openSFTP(ctx context.Context) (*sftpState, error) {
	state := c.sftpState()
	select {
	case <-state.ready:
		return state, state.err
	case <-c.done:
		return nil, c.lost("")
	case <-ctx.Done():
		return nil, fmt.Errorf("opening SFTP on %s: %w", c.target.name(), context.Cause(ctx))
	}
}

// sftpState returns the state in use; one that failed or ended is replaced.
func (c *Client) sftpState() *sftpState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sftp == nil {
		c.sftp = &sftpState{ready: make(chan struct{}), modes: newModes()}
		go c.runSFTP(c.sftp, c.open())
	}
	return c.sftp
}

// runSFTP opens the subsystem and stays until it ends.
func (c *Client) runSFTP(state *sftpState, pending <-chan opened) {
	state.client, state.err = c.startSFTP(state, pending)
	close(state.ready)
	if state.err == nil {
		_ = state.client.Wait()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sftp == state {
		c.sftp = nil
	}
}

func (c *Client) startSFTP(state *sftpState, pending <-chan opened) (*sftp.Client, error) {
	o := <-pending
	if o.err != nil {
		return nil, c.openError(o.err)
	}
	ok, err := o.session.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err == nil && !ok {
		_ = o.session.Close()
		return nil, next.With(fmt.Errorf("%s offers no SFTP", c.target.name()),
			next.Words("add \"Subsystem sftp internal-sftp\" to the server's sshd_config"))
	}
	if err != nil {
		return nil, c.sftpError(err)
	}
	go func() { _, _ = io.Copy(io.Discard, o.session.Stderr()) }()
	client, err := sftp.NewClientPipe(o.session, state.modes.pipe(o.session),
		sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true))
	if err != nil {
		_ = o.session.Close()
		return nil, c.sftpError(err)
	}
	return client, nil
}

// sftpError tells a lost connection from a broken subsystem.
func (c *Client) sftpError(err error) error {
	if c.link.reason() != nil {
		return c.lost("")
	}
	return next.With(fmt.Errorf("opening SFTP on %s: %s", c.target.name(), printable(err.Error(), maxErrorText)),
		next.Words("check that the user's shell start-up files print nothing, and Subsystem sftp in the server's sshd_config"))
}

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
		return next.With(fmt.Errorf("uploading %q to %s: %s", path, c.target.name(), printable(err.Error(), maxErrorText)),
			next.Words("check space and permissions on the server, and that the file does not exist yet"))
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

// SFTP version 3, as far as modes need it.
const (
	sftpOpen            = 3
	sftpAttrPermissions = 4
	sftpHeader          = 4 + 1 + 4 // length, type, request id
)

// modes lets files be created with a mode. The sftp package cannot say one when
// it opens a file, and setting it afterwards would leave a secret readable for a
// moment; so the mode is put into the request on its way out.
type modes struct {
	mu     sync.Mutex
	byPath map[string]os.FileMode
}

func newModes() *modes { return &modes{byPath: make(map[string]os.FileMode)} }

// set announces the mode with which path will be opened next.
func (m *modes) set(path string, mode os.FileMode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byPath[path] = mode.Perm()
}

func (m *modes) take(path string) (os.FileMode, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mode, ok := m.byPath[path]
	delete(m.byPath, path)
	return mode, ok
}

func (m *modes) pipe(w io.WriteCloser) io.WriteCloser { return &modePipe{WriteCloser: w, modes: m} }

// modePipe passes SFTP requests on. The sftp package writes a request's header in
// one call, and its data, if any, in a second one.
type modePipe struct {
	io.WriteCloser
	modes *modes
	data  int // bytes of the current request still to come
}

func (p *modePipe) Write(b []byte) (int, error) {
	if p.data > 0 || len(b) < sftpHeader {
		p.data = max(0, p.data-len(b))
		return p.WriteCloser.Write(b)
	}
	p.data = max(0, int(binary.BigEndian.Uint32(b))+4-len(b))
	if with, ok := p.withMode(b); ok {
		if _, err := p.WriteCloser.Write(with); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return p.WriteCloser.Write(b)
}

// withMode returns a complete request to open a file with the mode announced for
// it: length, type, id, path, flags, and no attributes before.
func (p *modePipe) withMode(b []byte) ([]byte, bool) {
	if b[4] != sftpOpen || p.data > 0 || len(b) < sftpHeader+4 {
		return nil, false
	}
	size := int(binary.BigEndian.Uint32(b[sftpHeader:]))
	if len(b) != sftpHeader+4+size+4+4 || binary.BigEndian.Uint32(b[len(b)-4:]) != 0 {
		return nil, false
	}
	mode, ok := p.modes.take(string(b[sftpHeader+4 : sftpHeader+4+size]))
	if !ok {
		return nil, false
	}
	with := make([]byte, 0, len(b)+4)
	with = binary.BigEndian.AppendUint32(with, uint32(len(b)+4-4))
	with = append(with, b[4:len(b)-4]...)
	with = binary.BigEndian.AppendUint32(with, sftpAttrPermissions)
	return binary.BigEndian.AppendUint32(with, uint32(mode)), true
}
