package remote

import (
	"encoding/binary"
	"io"
	"os"
	"sync"
)

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
