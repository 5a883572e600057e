package deploy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/dagadbm/vps/mage/nixos"
	"github.com/dagadbm/vps/mage/remote"
)

// sight is a look at one run over one connection: the server prints the run's
// status lines on its standard output, and the log on its standard error.
type sight struct {
	events chan event
	answer chan answer // to the start of the run, if the command starts it

	script  string
	stdin   *io.PipeWriter // closing it ends the command
	enough  atomic.Bool    // no more of the log is wanted
	done    <-chan struct{}
	stopped func()
}

// event is something that arrived from the server.
type event struct {
	status string // a line
	log    []byte
	err    error // the command ended
}

// answer is what a server said to the start of a run.
type answer struct {
	refused error // it did not start it
	err     error // it said neither
}

// startOf looks at a run that the same command starts. The server starts the shell
// that will read the script while something else is on its way, which saves the
// round trip of asking for the shell: nothing of the script is sent before
// [sight.begin]. stop must be called.
func (l *link) startOf(ctx context.Context, c nixos.Command) *sight {
	return l.look(ctx, c, func(s *sight, lines *bufio.Scanner) error { return s.readAnswer(lines) })
}

// sightOf looks at a run that is there. stop must be called.
func (l *link) sightOf(ctx context.Context, c nixos.Command) *sight {
	return l.look(ctx, c, func(*sight, *bufio.Scanner) error { return nil })
}

// look runs a command that shows a run; first reads what comes before the status.
func (l *link) look(ctx context.Context, c nixos.Command, first func(*sight, *bufio.Scanner) error) *sight {
	ctx, cancel := context.WithCancel(ctx)
	in, stdin := io.Pipe()
	out, toOut := io.Pipe()
	log, toLog := io.Pipe()
	s := &sight{events: make(chan event), answer: make(chan answer, 1), script: c.Stdin, stdin: stdin, done: ctx.Done()}
	var readers sync.WaitGroup
	client := l.client
	readers.Go(func() {
		err := client.Run(ctx, remote.Cmd{Line: c.Line, Stdin: in, Stdout: toOut, Stderr: toLog})
		_ = in.Close() // nobody reads a script any more
		_ = toLog.Close()
		_ = toOut.CloseWithError(err)
	})
	readers.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 64<<10)
		err := first(s, lines)
		if err == nil {
			err = s.readStatus(lines)
		}
		_ = out.CloseWithError(err)
		s.send(event{err: err})
	})
	readers.Go(func() { _ = log.CloseWithError(s.readLog(log)) })
	s.stopped = sync.OnceFunc(func() {
		_ = stdin.Close()
		cancel()
		_ = out.CloseWithError(context.Canceled)
		_ = log.CloseWithError(context.Canceled)
		readers.Wait()
	})
	return s
}

// stop ends the command and waits for all that belongs to it.
func (s *sight) stop() { s.stopped() }

// begin sends the script that starts the run, and gives the answer to it.
func (s *sight) begin(ctx context.Context) answer {
	go func() { _, _ = io.WriteString(s.stdin, s.script) }() // it ends with the command
	select {
	case a := <-s.answer:
		return a
	case <-ctx.Done():
		return answer{err: context.Cause(ctx)}
	}
}

func (s *sight) send(e event) error {
	select {
	case s.events <- e:
		return nil
	case <-s.done:
		return context.Canceled
	}
}

// maxStatus is how many status lines a run may have: some twenty are usual.
const maxStatus = 1000

var errManyLines = errors.New("more than 1000 status lines")

func (s *sight) readAnswer(lines *bufio.Scanner) error {
	for n := 0; n < maxStatus && lines.Scan(); n++ {
		if answered, refused := nixos.ParseStart(lines.Text()); answered {
			s.answer <- answer{refused: refused}
			return nil
		}
	}
	err := ended(lines)
	s.answer <- answer{err: err}
	return err
}

func (s *sight) readStatus(lines *bufio.Scanner) error {
	for n := 0; lines.Scan(); n++ {
		if n == maxStatus {
			return errManyLines
		}
		if err := s.send(event{status: lines.Text()}); err != nil {
			return err
		}
	}
	return ended(lines)
}

// ended is why there are no more lines.
func ended(lines *bufio.Scanner) error {
	return errors.Join(lines.Err(), io.ErrUnexpectedEOF)
}

// readLog passes on what follows the mark: before it, a login's shell or sudo may
// have had something to say.
func (s *sight) readLog(r io.Reader) error {
	buffered := bufio.NewReaderSize(r, 32<<10)
	for {
		line, err := buffered.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if string(line) == nixos.LogMark+"\n" {
			break
		}
	}
	for {
		buf := make([]byte, 32<<10)
		n, err := buffered.Read(buf)
		if n > 0 && !s.enough.Load() {
			if sent := s.send(event{log: buf[:n]}); sent != nil {
				return sent
			}
		}
		if err != nil {
			return err
		}
	}
}
