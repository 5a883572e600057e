package run

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dagadbm/vps/mage/remote"
)

// Session is one shell on a server. It is asked for facts, takes orders, starts a run
// or finds one that is there, and then shows it: status lines on its standard output,
// the log on its standard error.
type Session struct {
	// Stop ends the command and waits for all that belongs to it.
	Stop func()

	bounds  Bounds
	stdin   *outbox        // closing it ends the command
	out     *io.PipeReader // the command's output
	lines   *bufio.Scanner // of out
	events  chan event     // what belongs to the run
	readers sync.WaitGroup
	enough  atomic.Bool // no more of the log is wanted
	done    <-chan struct{}
}

// event is something that arrived from the server.
type event struct {
	status string // a line
	log    []byte
	err    error // the command ended
}

const (
	// maxStatus is how many status lines a run may have: some twenty are usual.
	maxStatus = 1000
)

var errManyLines = fmt.Errorf("more than %d status lines", maxStatus)

// session runs a command that ends with its input. Stop must be called.
func (l *Link) session(ctx context.Context, c Command) *Session {
	ctx, cancel := context.WithCancel(ctx)
	in, stdin := io.Pipe()
	out, toOut := io.Pipe()
	log, toLog := io.Pipe()
	s := &Session{bounds: l.Bounds, stdin: newOutbox(stdin), out: out, lines: bufio.NewScanner(out), events: make(chan event), done: ctx.Done()}
	s.lines.Buffer(make([]byte, 0, 4096), maxStatusLine)
	conn := l.current()
	s.readers.Go(func() {
		err := conn.Run(ctx, remote.Cmd{Line: c.Line, Stdin: in, Stdout: toOut, Stderr: toLog})
		_ = in.Close() // nobody reads an order any more
		_ = toLog.Close()
		_ = toOut.CloseWithError(err)
	})
	s.readers.Go(func() { _ = log.CloseWithError(s.readLog(log)) })
	s.Stop = sync.OnceFunc(func() {
		s.stdin.close()
		cancel()
		_ = out.CloseWithError(context.Canceled)
		_ = log.CloseWithError(context.Canceled)
		s.readers.Wait()
	})
	s.stdin.put([]byte(c.Stdin))
	return s
}

// StartOrder is what starts a run: a line, and then the archive.
func StartOrder(id string, archive []byte) []byte {
	sum := sha256.Sum256(archive)
	return append(fmt.Appendf(nil, "%s %s %d %x\n", orderStart, id, len(archive), sum), archive...)
}

// order sends one line to the shell.
func (s *Session) order(words ...string) { s.stdin.put([]byte(strings.Join(words, " ") + "\n")) }

// end tells the shell that no more orders come.
func (s *Session) end() { s.stdin.close() }

// line reads the next line. One that does not come in time ends the session.
func (s *Session) line(ctx context.Context) (string, error) {
	release := context.AfterFunc(ctx, func() { _ = s.out.CloseWithError(context.Cause(ctx)) })
	defer release()
	if s.lines.Scan() {
		return s.lines.Text(), nil
	}
	err := s.lines.Err()
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, bufio.ErrTooLong):
		return "", remote.ErrTooMuchOutput
	case err == nil:
		return "", io.ErrUnexpectedEOF
	}
	return "", err
}

// block reads up to the line that ends it, or the command's own end: what is missing
// is for the parser to say.
func (s *Session) block(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	for {
		line, err := s.line(ctx)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		if out.Len()+len(line) >= maxAnswer {
			return nil, remote.ErrTooMuchOutput
		}
		out.WriteString(line)
		out.WriteByte('\n')
		if line == FactsEnd {
			return out.Bytes(), nil
		}
	}
}

// start sends the archive of a run, and waits for the answer. started is false where
// the server gave none.
func (s *Session) start(ctx context.Context, id string, archive []byte) (refused, err error) {
	s.stdin.put(StartOrder(id, archive))
	ctx, cancel := within(ctx, s.bounds.sendWithin(len(archive)), "start the run")
	defer cancel()
	for range maxStatus {
		line, err := s.line(ctx)
		if err != nil {
			return nil, err
		}
		if answered, refused := ParseStart(line); answered {
			return refused, nil
		}
	}
	return nil, errManyLines
}

// show makes the session's events those of a run that its shell shows from now on.
func (s *Session) show() {
	s.readers.Go(func() {
		_ = s.send(event{err: s.readStatus()})
		_ = s.out.CloseWithError(context.Canceled)
	})
}

func (s *Session) readStatus() error {
	for n := 0; s.lines.Scan(); n++ {
		if n == maxStatus {
			return errManyLines
		}
		if err := s.send(event{status: s.lines.Text()}); err != nil {
			return err
		}
	}
	if err := s.lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

func (s *Session) send(e event) error {
	select {
	case s.events <- e:
		return nil
	case <-s.done:
		return context.Canceled
	}
}

// readLog passes on what follows the mark: before it, a login's shell or sudo may
// have had something to say.
func (s *Session) readLog(r io.Reader) error {
	buffered := bufio.NewReaderSize(r, 32<<10)
	for {
		line, err := buffered.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if string(line) == LogMark+"\n" {
			break
		}
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := buffered.Read(buf)
		if n > 0 && !s.enough.Load() {
			if sent := s.send(event{log: bytes.Clone(buf[:n])}); sent != nil {
				return sent
			}
		}
		if err != nil {
			return err
		}
	}
}

// outbox writes what it is given, in order, without keeping anybody waiting: a server
// may never read.
type outbox struct {
	mu      sync.Mutex
	waiting [][]byte
	writing bool
	closed  bool
	to      *io.PipeWriter
}

func newOutbox(to *io.PipeWriter) *outbox { return &outbox{to: to} }

func (o *outbox) put(data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.waiting = append(o.waiting, data)
	o.work()
}

// close ends the input once all of it was written.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.work()
}

// work starts writing, if nobody writes. The goroutine ends with the command, because
// the other end of the pipe is closed then.
func (o *outbox) work() {
	if o.writing {
		return
	}
	o.writing = true
	go func() {
		for {
			o.mu.Lock()
			if len(o.waiting) == 0 {
				o.writing = false
				closed := o.closed
				o.mu.Unlock()
				if closed {
					_ = o.to.Close()
				}
				return
			}
			data := o.waiting[0]
			o.waiting = o.waiting[1:]
			o.mu.Unlock()
			if _, err := o.to.Write(data); err != nil {
				return
			}
		}
	}()
}
