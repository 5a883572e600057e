package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

func TestRunPassesEverythingThrough(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) {
		c.accept()
		_, _ = io.Copy(c, c) // cat
		_, _ = io.WriteString(c.Stderr(), "ran "+c.line)
		c.exit(0)
		_ = c.Close()
	}
	c := s.login(t)
	var out, errs bytes.Buffer
	input := strings.Repeat("0123456789", 500_000)
	require.NoError(t, c.Run(t.Context(), Cmd{Line: "cat", Stdin: strings.NewReader(input), Stdout: &out, Stderr: &errs}))
	assert.Equal(t, input, out.String())
	assert.Equal(t, "ran cat", errs.String())
}

// A reader of both streams that waited for one before it took more of the other
// waited for ever, when they arrived in that order.
func TestAStreamDoesNotWaitForTheOther(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) {
		c.accept()
		_, _ = io.WriteString(c.Stderr(), "the log")
		_, _ = io.WriteString(c, "started")
		c.exit(0)
		_ = c.Close()
	}
	c := s.login(t)
	started, writing := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(t.Context(), Cmd{Line: "both",
			Stdout: writerFunc(func() { <-writing; close(started) }),
			Stderr: writerFunc(func() { close(writing); <-started })})
	}()
	select {
	case err := <-ended:
		assert.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("standard output waits until somebody is done with standard error")
	}
}

// writerFunc is called for each write, whatever is written.
type writerFunc func()

func (f writerFunc) Write(b []byte) (int, error) {
	f()
	return len(b), nil
}

// A buffer for both streams gets one write at a time.
func TestOneWriterForBothStreams(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) {
		c.accept()
		for range 100 {
			_, _ = io.WriteString(c, "out\n")
			_, _ = io.WriteString(c.Stderr(), "err\n")
		}
		c.exit(0)
		_ = c.Close()
	}
	var both bytes.Buffer
	require.NoError(t, s.login(t).Run(t.Context(), Cmd{Line: "both", Stdout: &both, Stderr: &both}))
	assert.Len(t, both.String(), 800)
}

// Servers refuse a command and close the channel, and both may arrive together.
func TestRefusedAndClosed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) {
		_ = c.req.Reply(false, nil)
		_ = c.Close()
	}
	c := s.login(t)
	for range 50 {
		err := c.Run(t.Context(), Cmd{Line: "backup"})
		require.ErrorContains(t, err, `refuses to run "backup"`)
		require.NotErrorIs(t, err, ErrLost)
	}
}

// What was printed before a connection broke is read after it, and the library then
// tells of the end while there is more: that is a lost connection, too.
func TestConnectionResetUnderOutput(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) {
		c.accept()
		_, _ = c.Write(make([]byte, 1<<20))
		<-t.Context().Done()
	}
	h := newHome(t)
	s.allowed = append(s.allowed, h.addKey("id_ed25519", ""))
	broken := &brokenConn{enough: make(chan struct{})}
	d := &Dialer{Home: h.dir, NetDial: func(context.Context, string, string) (net.Conn, error) {
		broken.Conn = s.connect(0)
		return broken, nil
	}}
	c, err := d.Dial(t.Context(), s.pin())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	err = c.Run(t.Context(), Cmd{Line: "print", Stdout: writerFunc(func() { broken.reset() })})
	require.ErrorIs(t, err, ErrLost)
}

// brokenConn is a connection that somebody resets once half a megabyte has arrived.
type brokenConn struct {
	net.Conn
	read   atomic.Int64
	once   sync.Once
	enough chan struct{}
	dead   atomic.Bool
}

func (b *brokenConn) reset() {
	<-b.enough
	if !b.dead.Swap(true) {
		_ = b.Conn.Close()
	}
}

func (b *brokenConn) Write(p []byte) (int, error) {
	if b.dead.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return b.Conn.Write(p)
}

func (b *brokenConn) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if b.read.Add(int64(n)) > 1<<19 {
		b.once.Do(func() { close(b.enough) })
	}
	if b.dead.Load() {
		err = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

func TestExitErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) {
		c.accept()
		_, _ = io.WriteString(c.Stderr(), strings.Repeat("noise\n", 10_000)+"\x1b[2Jno such\tfile\n")
		if c.line == "killed" {
			_, _ = c.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal string
				Core   bool
				Error  string
				Lang   string
			}{"KILL", false, "", ""}))
		} else {
			c.exit(3)
		}
		_ = c.Close()
	}
	c := s.login(t)
	var failed *ExitError
	require.ErrorAs(t, c.Run(t.Context(), Cmd{Line: "cat " + strings.Repeat("x", 100)}), &failed)
	assert.Equal(t, 3, failed.Code)
	assert.Empty(t, failed.Signal)
	assert.Len(t, failed.Stderr, tailSize)
	assert.Equal(t, `"cat `+strings.Repeat("x", 56)+`…" on web-1: exit status 3: no such file`, failed.Error())

	require.ErrorAs(t, c.Run(t.Context(), Cmd{Line: "killed"}), &failed)
	assert.Equal(t, -1, failed.Code)
	assert.Equal(t, `"killed" on web-1: signal KILL: no such file`, failed.Error())
}

// Servers differ in the order of the last messages, and some never close.
func TestEndsOfACommand(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  func(*command)
		want func(*testing.T, error)
	}{
		"status before output": {func(c *command) { c.exit(0); _, _ = c.Write([]byte("out")); _ = c.Close() }, nil},
		"status after EOF":     {func(c *command) { _, _ = c.Write([]byte("out")); _ = c.CloseWrite(); c.exit(0); _ = c.Close() }, nil},
		"never closed":         {func(c *command) { _, _ = c.Write([]byte("out")); _ = c.CloseWrite(); c.exit(0) }, nil},
		"two statuses":         {func(c *command) { _, _ = c.Write([]byte("out")); c.exit(0); c.exit(9); _ = c.Close() }, nil},
		"no status": {func(c *command) { _, _ = c.Write([]byte("out")); _ = c.Close() }, func(t *testing.T, err error) {
			require.ErrorIs(t, err, ErrLost)
			assert.ErrorContains(t, err, `connection to web-1 lost during "do": the server did not say how the command ended`)
		}},
		"malformed status": {func(c *command) {
			_, _ = c.Write([]byte("out"))
			_, _ = c.SendRequest("exit-status", false, []byte{1})
			_ = c.Close()
		}, func(t *testing.T, err error) { require.ErrorIs(t, err, ErrLost) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.exec = func(c *command) { c.accept(); test.end(c) }
			out, err := s.login(t).Output(t.Context(), "do", nil, 100)
			if test.want == nil {
				require.NoError(t, err)
			} else {
				test.want(t, err)
			}
			assert.Equal(t, "out", string(out))
		})
	}
}

// sshd may report a command's end before the last of its output: a connection that
// breaks between the two has lost output, whatever the status.
func TestStatusBeforeOutputThatNeverCame(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) {
		c.accept()
		c.exit(0)
		_, _ = c.Write([]byte("the first ha"))
		s.cut()
	}
	out, err := s.login(t).Output(t.Context(), "print", nil, 100)
	require.ErrorIs(t, err, ErrLost)
	assert.Equal(t, "the first ha", string(out))
}

func TestRefusedCommand(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) { _ = c.req.Reply(false, nil) }
	err := s.login(t).Run(t.Context(), Cmd{Line: "ls"})
	require.ErrorContains(t, err, `web-1 refuses to run "ls"`)
	assert.NotEmpty(t, hintOf(t, err))
}

func TestRefusedSession(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.session = func(nc ssh.NewChannel) { _ = nc.Reject(ssh.ResourceShortage, "no\x1b[2J more") }
	c := s.login(t)
	c.Prepare(t.Context())
	err := c.Run(t.Context(), Cmd{Line: "ls"})
	require.ErrorContains(t, err, "opening a session on web-1")
	assert.NotContains(t, err.Error(), "\x1b")
	assert.Contains(t, hintOf(t, err), "MaxSessions")
	_, err = c.SFTP(t.Context())
	require.ErrorContains(t, err, "opening a session on web-1")
}

// A command that ends without reading its input has ended.
func TestInputIsNotRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.exec = func(c *command) { c.accept(); c.exit(0); _ = c.Close() }
	never, stop := io.Pipe()
	defer stop.Close()
	require.NoError(t, s.login(t).Run(t.Context(), Cmd{Line: "true", Stdin: never}))
	require.NoError(t, s.login(t).Run(t.Context(), Cmd{Line: "true", Stdin: bytes.NewReader(make([]byte, 10<<20))}))
}

func TestOutputHasALimit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ended := make(chan string, 1)
	s.exec = func(c *command) {
		c.accept()
		for {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				break
			}
		}
		ended <- <-c.signals
	}
	out, err := s.login(t).Output(t.Context(), "yes", nil, 10_000)
	require.ErrorIs(t, err, ErrTooMuchOutput)
	assert.ErrorContains(t, err, `output of "yes" on web-1`)
	assert.LessOrEqual(t, len(out), 10_000)
	assert.Equal(t, "TERM", <-ended)
}

// A slow reader slows the server down; the backlog is one window, not memory.
func TestSlowReaderHoldsTheServerBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, sent := newServer(t), 0
		s.exec = func(c *command) {
			c.accept()
			for range 1000 {
				n, err := c.Write(make([]byte, 32<<10))
				if err != nil {
					return
				}
				sent += n
			}
			c.exit(0)
			_ = c.Close()
		}
		c := s.login(t)
		r, w := io.Pipe()
		p, err := c.Start(t.Context(), Cmd{Line: "flood", Stdout: w})
		require.NoError(t, err)
		synctest.Wait()
		assert.Less(t, sent, 3<<20)
		go func() { _, _ = io.Copy(io.Discard, r) }()
		require.NoError(t, p.Wait())
		assert.Equal(t, 1000*32<<10, sent)
		_ = w.Close()
		_ = c.Close()
	})
}

func TestCancelEndsACommandAtOnce(t *testing.T) {
	t.Parallel()
	for name, exec := range map[string]func(*command){
		"that never answers":                         func(*command) {},
		"that never ends":                            func(c *command) { c.accept(); _, _ = c.Write([]byte("x")) },
		"that closed its output but does not report": func(c *command) { c.accept(); _ = c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				s.exec = exec
				c := s.login(t)
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, errors.New("enough"))
				defer cancel()
				start := time.Now()
				err := c.Run(ctx, Cmd{Line: "sleep"})
				require.ErrorContains(t, err, `running "sleep" on web-1: enough`)
				assert.Equal(t, time.Hour, time.Since(start))
				_ = c.Close()
			})
		})
	}
}

// A writer that hangs delays a cancelled command for a moment, not for ever; and
// nothing is written after the command's end.
func TestCancelWithAStuckWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.exec = func(c *command) { c.accept(); _, _ = c.Write(make([]byte, 100)) }
		c := s.login(t)
		_, stuck := io.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, c.Run(ctx, Cmd{Line: "x", Stdout: stuck}), context.DeadlineExceeded)
		assert.Equal(t, time.Minute+writerGrace, time.Since(start))
		_ = stuck.Close()
		_ = c.Close()
	})
}

func TestCancelWhileASessionOpens(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.session = func(ssh.NewChannel) { cancel() } // never answered
	c := s.login(t)
	require.ErrorIs(t, c.Run(ctx, Cmd{Line: "ls"}), context.Canceled)
	c.Prepare(ctx)
	c.PrepareSFTP(ctx)
	assert.Empty(t, c.spares)
	assert.Nil(t, c.sftp)
}

func TestLostConnection(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*server, *Client){
		"by the network": func(s *server, _ *Client) { s.cut() },
		"by us":          func(_ *server, c *Client) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			running := make(chan struct{}, 1)
			s.exec = func(c *command) { c.accept(); running <- struct{}{} }
			c := s.login(t)
			require.NoError(t, c.Err())
			p, err := c.Start(t.Context(), Cmd{Line: "sleep 9"})
			require.NoError(t, err)
			<-running
			cut(s, c)
			err = p.Wait()
			require.ErrorIs(t, err, ErrLost)
			var lost *LostError
			require.ErrorAs(t, err, &lost)
			assert.Equal(t, "sleep 9", lost.During)
			assert.NotEmpty(t, lost.NextStep().String())
			<-c.Done()
			if name == "by us" {
				assert.Equal(t, net.ErrClosed, c.Err())
			} else {
				require.ErrorIs(t, c.Err(), ErrLost)
				assert.EqualError(t, c.Err(), "connection to web-1 lost: the server closed it")
			}
			require.ErrorIs(t, c.Run(t.Context(), Cmd{Line: "ls"}), ErrLost)
			_, err = c.SFTP(t.Context())
			require.ErrorIs(t, err, ErrLost)
			require.NoError(t, c.Close())
		})
	}
}

// sshd asks on any open channel whether we are alive, also on one that waits for
// its command.
func TestPreparedSessionAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	answered := make(chan bool, 1)
	s.session = func(nc ssh.NewChannel) {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		for range 50 {
			if _, err := ch.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				answered <- false
				return
			}
		}
		answered <- true
	}
	c := s.login(t)
	c.Prepare(t.Context())
	assert.True(t, <-answered)
}

func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	key := h.addKey("id_ed25519", "")
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.allowed = append(s.allowed, key)
		s.exec = func(c *command) { c.accept() }
		var client *end
		d := &Dialer{Home: h.dir, NetDial: func(context.Context, string, string) (net.Conn, error) {
			client = s.connect(0)
			return client, nil
		}}
		c, err := d.Dial(t.Context(), s.pin())
		require.NoError(t, err)
		p, err := c.Start(t.Context(), Cmd{Line: "sleep"})
		require.NoError(t, err)
		time.Sleep(time.Hour + time.Second)
		require.NoError(t, c.Err(), "a server that answers is kept")
		client.in.freeze()
		start := time.Now()
		require.ErrorIs(t, p.Wait(), ErrLost)
		assert.LessOrEqual(t, time.Since(start), 5*DefaultKeepAlive)
		assert.GreaterOrEqual(t, time.Since(start), 3*DefaultKeepAlive)
		<-c.Done()
		assert.ErrorContains(t, c.Err(), "the server stopped answering")
	})
}
