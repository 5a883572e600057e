package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

func newSFTPServer(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.sftpDir = t.TempDir()
	return s
}

func TestUpload(t *testing.T) {
	t.Parallel()
	s := newSFTPServer(t)
	c := s.login(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	for name, test := range map[string]struct {
		mode os.FileMode
		data []byte
	}{"empty": {0o600, nil}, "secret": {0o600, []byte("x")}, "script": {0o700, []byte("y")}, "large": {0o640, large}} {
		path := filepath.Join(s.sftpDir, name)
		require.NoError(t, c.Upload(t.Context(), path, test.mode, test.data))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(test.data, got), name)
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, test.mode, info.Mode().Perm(), name)
	}
}

// The file has its mode before it has any content: a reader that opened it in
// between would keep reading. What is on the wire says so.
func TestModeIsPartOfTheOpenRequest(t *testing.T) {
	t.Parallel()
	var wire bytes.Buffer
	m := newModes()
	p := m.pipe(nopCloser{&wire})
	open := []byte{0, 0, 0, 18, sftpOpen, 0, 0, 0, 7, 0, 0, 0, 1, 'f', 0, 0, 0, 0x2a, 0, 0, 0, 0}
	m.set("f", 0o600)
	n, err := p.Write(open)
	require.NoError(t, err)
	assert.Equal(t, len(open), n)
	assert.Equal(t, []byte{0, 0, 0, 22, sftpOpen, 0, 0, 0, 7, 0, 0, 0, 1, 'f', 0, 0, 0, 0x2a, 0, 0, 0, 4, 0, 0, 1, 0o200}, wire.Bytes())

	// Once only, and never inside the data of a write request.
	m.set("g", 0o600)
	rest := append([]byte{0, 0, 0, byte(5 + len(open)), 6, 0, 0, 0, 8}, open...)
	for _, b := range [][]byte{open, rest[:9], rest[9:]} {
		wire.Reset()
		_, err := p.Write(b)
		require.NoError(t, err)
		assert.Equal(t, b, wire.Bytes())
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestUploadDoesNotReplace(t *testing.T) {
	t.Parallel()
	s := newSFTPServer(t)
	path := filepath.Join(s.sftpDir, "there")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	err := s.login(t).Upload(t.Context(), path, 0o600, []byte("new"))
	require.ErrorContains(t, err, `uploading "`+path+`" to web-1`)
	assert.Contains(t, hintOf(t, err), "does not exist yet")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(got))
}

func TestUploadsSideBySide(t *testing.T) {
	t.Parallel()
	s := newSFTPServer(t)
	c := s.login(t)
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			path := filepath.Join(s.sftpDir, string(rune('a'+i)))
			mode := os.FileMode(0o600 + i%2*0o100)
			if assert.NoError(t, c.Upload(t.Context(), path, mode, bytes.Repeat([]byte{byte(i)}, 100_000))) {
				info, err := os.Stat(path)
				assert.NoError(t, err)
				assert.Equal(t, mode, info.Mode().Perm())
			}
		})
	}
	all.Wait()
}

func TestFailedUploadIsRemoved(t *testing.T) {
	t.Parallel()
	s := newSFTPServer(t)
	c := s.login(t)
	path := filepath.Join(s.sftpDir, "half")
	state, err := c.openSFTP(t.Context())
	require.NoError(t, err)
	src := &source{r: bytes.NewReader(make([]byte, 1<<20))}
	src.close() // what a cancelled upload does
	require.ErrorIs(t, state.upload(path, 0o600, src), os.ErrClosed)
	assert.NoFileExists(t, path)
}

func TestCancelledUpload(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.session = func(nc ssh.NewChannel) {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		for r := range reqs {
			_ = r.Reply(true, nil)
			// The version, and then silence.
			_, _ = ch.Write([]byte{0, 0, 0, 5, 2, 0, 0, 0, 3})
			_, _ = io.ReadFull(ch, make([]byte, 9+5)) // init, start of open
			cancel()
		}
	}
	require.ErrorIs(t, s.login(t).Upload(ctx, "x", 0o600, []byte("x")), context.Canceled)
}

func TestUploadOverALostConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.session = func(nc ssh.NewChannel) {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		for r := range reqs {
			_ = r.Reply(true, nil)
			_, _ = ch.Write([]byte{0, 0, 0, 5, 2, 0, 0, 0, 3})
			_, _ = io.ReadFull(ch, make([]byte, 9+5))
			s.cut()
		}
	}
	err := s.login(t).Upload(t.Context(), "x", 0o600, []byte("x"))
	require.ErrorIs(t, err, ErrLost)
	assert.ErrorContains(t, err, "upload of x")
}

func TestNoSFTP(t *testing.T) {
	t.Parallel()
	for name, speak := range map[string]func(ssh.Channel, *ssh.Request){
		"refused": func(_ ssh.Channel, r *ssh.Request) { _ = r.Reply(false, nil) },
		"greeting": func(ch ssh.Channel, r *ssh.Request) {
			_ = r.Reply(true, nil)
			_, _ = ch.Write([]byte("Welcome to my server!"))
		},
		"ends": func(ch ssh.Channel, r *ssh.Request) { _ = r.Reply(true, nil); _ = ch.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.session = func(nc ssh.NewChannel) {
				ch, reqs, err := nc.Accept()
				if err != nil {
					return
				}
				for r := range reqs {
					speak(ch, r)
				}
			}
			c := s.login(t)
			_, err := c.SFTP(t.Context())
			require.ErrorContains(t, err, "web-1")
			require.NotErrorIs(t, err, ErrLost)
			assert.Contains(t, hintOf(t, err), "Subsystem sftp")
		})
	}
}

func TestSFTPIsSharedAndReopened(t *testing.T) {
	t.Parallel()
	s := newSFTPServer(t)
	c := s.login(t)
	first, err := c.SFTP(t.Context())
	require.NoError(t, err)
	again, err := c.SFTP(t.Context())
	require.NoError(t, err)
	assert.Same(t, first, again)
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		next, err := c.SFTP(t.Context())
		return err == nil && next != first
	}, 10*time.Second, time.Millisecond)
}

func TestSFTPErrorOfALostConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.login(t)
	s.cut()
	<-c.Done()
	require.ErrorIs(t, c.sftpError(errors.New("x")), ErrLost)
}
