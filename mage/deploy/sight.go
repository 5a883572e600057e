package deploy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// sight is a look at one run over one connection: the server prints the run's
// status lines on its standard output, and the log on its standard error.
type sight struct {
	events chan event
	facts  chan saidFacts // of the server, if the command is asked for them first
	answer chan answer    // to the start of the run, if the command starts it

	// stop ends the command and waits for all that belongs to it.
	stop func()

	stdin  *io.PipeWriter // closing it ends the command
	enough atomic.Bool    // no more of the log is wanted
	done   <-chan struct{}
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

// saidFacts is what a server said of itself.
type saidFacts struct {
	out []byte
	err error
}

// open starts a shell that is asked for the server's facts, and that may then start
// a run and show it: one login shell for all. stop must be called.
func (l *link) open(ctx context.Context) *sight {
	return l.look(ctx, l.shell().Shell(), (*sight).readFacts, (*sight).readAnswer)
}

// sightOf looks at a run that is there. stop must be called.
func (l *link) sightOf(ctx context.Context, id string, offset int64) *sight {
	return l.look(ctx, l.shell().Follow(id, offset).Line)
}

// look runs a command that shows a run; first reads what comes before the status.
func (l *link) look(ctx context.Context, line string, first ...func(*sight, *bufio.Scanner) error) *sight {
	ctx, cancel := context.WithCancel(ctx)
	in, stdin := io.Pipe()
	out, toOut := io.Pipe()
	log, toLog := io.Pipe()
	s := &sight{events: make(chan event), facts: make(chan saidFacts, 1), answer: make(chan answer, 1), stdin: stdin, done: ctx.Done()}
	var readers sync.WaitGroup
	client := l.client
	readers.Go(func() {
		err := client.Run(ctx, remote.Cmd{Line: line, Stdin: in, Stdout: toOut, Stderr: toLog})
		_ = in.Close() // nobody reads a script any more
		_ = toLog.Close()
		_ = toOut.CloseWithError(err)
	})
	readers.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 64<<10)
		var err error
		for _, read := range append(first, (*sight).readStatus) {
			if err = read(s, lines); err != nil {
				break
			}
		}
		_ = out.CloseWithError(err)
		_ = s.send(event{err: err})
	})
	readers.Go(func() { _ = log.CloseWithError(s.readLog(log)) })
	s.stop = sync.OnceFunc(func() {
		_ = stdin.Close()
		cancel()
		_ = out.CloseWithError(context.Canceled)
		_ = log.CloseWithError(context.Canceled)
		readers.Wait()
	})
	return s
}

// ask sends the script that asks for the facts, and gives what it printed.
func (s *sight) ask(ctx context.Context, script string) ([]byte, error) {
	s.say(script)
	select {
	case f := <-s.facts:
		return f.out, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// begin sends the script that starts the run, and gives the answer to it.
func (s *sight) begin(ctx context.Context, script string) answer {
	s.say(script)
	select {
	case a := <-s.answer:
		return a
	case <-ctx.Done():
		return answer{err: context.Cause(ctx)}
	}
}

// say does not wait: the server may never read.
func (s *sight) say(script string) {
	go func() { _, _ = io.WriteString(s.stdin, script) }() // it ends with the command
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

var errManyLines = fmt.Errorf("more than %d status lines", maxStatus)

// readFacts reads up to their end, or that of the command.
func (s *sight) readFacts(lines *bufio.Scanner) error {
	var out bytes.Buffer
	for lines.Scan() {
		if out.Len()+len(lines.Bytes()) >= maxAnswer {
			s.facts <- saidFacts{err: remote.ErrTooMuchOutput}
			return remote.ErrTooMuchOutput
		}
		_, _ = out.Write(lines.Bytes())
		_ = out.WriteByte('\n')
		if string(lines.Bytes()) == run.FactsEnd {
			s.facts <- saidFacts{out: out.Bytes()}
			return nil
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = remote.ErrTooMuchOutput
	}
	s.facts <- saidFacts{out: out.Bytes(), err: err}
	return ended(lines)
}

func (s *sight) readAnswer(lines *bufio.Scanner) error {
	for n := 0; n < maxStatus && lines.Scan(); n++ {
		if answered, refused := run.ParseStart(lines.Text()); answered {
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
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
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
		if string(line) == run.LogMark+"\n" {
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
