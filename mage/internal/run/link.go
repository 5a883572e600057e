package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/dagadbm/vps/mage/remote"
)

// Conn is a login on a server whose host key was verified. [remote.Client] is one.
type Conn interface {
	// Run runs a command to its end.
	Run(ctx context.Context, cmd remote.Cmd) error
	// Output runs a command and gives what it printed, at most limit bytes of it.
	Output(ctx context.Context, line string, stdin io.Reader, limit int64) ([]byte, error)
	Close() error
}

// Link is a server with a connection to it, which is replaced when it drops. It needs
// one session at a time.
type Link struct {
	Name   string // of the host, for people
	Port   int    // where the host is declared to answer
	Jumps  int    // hosts that the way leads through
	Shell  Shell
	Bounds Bounds
	// Login makes another connection to the server, on a port, with the same host key.
	Login func(ctx context.Context, port int) (Conn, error)

	mu   sync.Mutex // a look at the new system goes on while the connection is replaced
	conn Conn
	at   int // the port of conn
	took int // the port that the server took a login on that we made to at; 0 is unknown
}

// Use makes conn, which was made to a port, the connection.
func (l *Link) Use(conn Conn, port int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.at = conn, port
}

func (l *Link) current() Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

// At is the port of the connection.
func (l *Link) At() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// forwarded says whether the server listens on another port than the one that leads to
// it, and on which: a router or a container engine forwards.
func (l *Link) forwarded() (port int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.took, l.took != 0 && l.at != 0 && l.took != l.at
}

// tookOn keeps what the server says of the port that it took the login on.
func (l *Link) tookOn(port int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = port
}

// Close ends the connection, if there is one.
func (l *Link) Close() {
	if l == nil {
		return
	}
	if conn := l.current(); conn != nil {
		_ = conn.Close()
	}
}

// Answers of a server are read to this size: a manifest of some ten thousand
// files fits.
const maxAnswer = 16 << 20

// Ask runs a short command and gives what it printed.
func (l *Link) Ask(ctx context.Context, c Command) ([]byte, error) {
	ctx, cancel := within(ctx, l.Bounds.answerWithin(), "answer")
	defer cancel()
	return l.AskLong(ctx, c)
}

// AskLong is Ask for a command whose deadline is the context's.
func (l *Link) AskLong(ctx context.Context, c Command) ([]byte, error) {
	return l.current().Output(ctx, c.Line, strings.NewReader(c.Stdin), maxAnswer)
}

// Facts asks for the server's facts.
func (l *Link) Facts(ctx context.Context, q FactsQuery) (Facts, error) {
	var out []byte
	err := l.asRoot(func(shell Shell) (err error) {
		out, err = l.Ask(ctx, shell.Facts(q))
		return err
	})
	if err != nil {
		return Facts{}, fmt.Errorf("look at the server: %w", err)
	}
	return ParseFacts(bytes.NewReader(out))
}

// Forget makes sure that a run whose start was cut off never starts. It fails,
// with false, when the run is there: then it can be followed.
func (l *Link) forget(ctx context.Context, id string) bool {
	out, err := l.Ask(ctx, l.Shell.Forget(id))
	return err == nil && Forgotten(out)
}

// Open starts the shell that a run needs, and asks it for the server's facts. The
// session must be stopped, if there is no error.
func (l *Link) Open(ctx context.Context, q FactsQuery) (*Session, Facts, error) {
	var s *Session
	var out []byte
	err := l.asRoot(func(shell Shell) (err error) {
		patient, cancel := within(ctx, l.Bounds.answerWithin(), "answer")
		defer cancel()
		s = l.session(ctx, shell.Session(q))
		if out, err = s.block(patient); err != nil {
			s.Stop()
		}
		return err
	})
	if err != nil {
		return nil, Facts{}, fmt.Errorf("look at the server: %w", err)
	}
	facts, err := ParseFacts(bytes.NewReader(out))
	if err != nil {
		s.Stop()
		return nil, facts, err
	}
	l.tookOn(facts.Port)
	return s, facts, nil
}

// Generations asks an open session for the generations.
func (s *Session) Generations(ctx context.Context) ([]Generation, error) {
	s.order(orderGenerations)
	patient, cancel := within(ctx, s.bounds.answerWithin(), "answer")
	defer cancel()
	out, err := s.block(patient)
	if err != nil {
		return nil, fmt.Errorf("list the generations: %w", err)
	}
	return ParseGenerations(bytes.NewReader(out))
}

// File asks an open session for a file of /etc/nixos. It is text without NUL: else the
// caller, who knows its hash, finds out.
func (s *Session) File(ctx context.Context, path string) ([]byte, error) {
	if oneLine(path) != path {
		return nil, fmt.Errorf("read %q: the name is too long, or not of one line", path)
	}
	s.order(orderFile, path)
	patient, cancel := within(ctx, s.bounds.answerWithin(), "answer")
	defer cancel()
	out, err := s.block(patient)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	var data []byte
	for line := range bytes.Lines(out) {
		if text, ok := bytes.CutPrefix(line, []byte("f=")); ok {
			data = append(data, text...)
		} else if text, ok := bytes.CutPrefix(line, []byte("p=")); ok {
			data = append(data, bytes.TrimSuffix(text, []byte("\n"))...)
		}
	}
	return data, nil
}

// Note has the server note which commit the deployed tree is, where the tree is the
// same and the commit another. The server needs no answer to be waited for: when it
// notes nothing, the next run asks again.
func (s *Session) Note(ctx context.Context, r Record) error {
	s.order(orderNote, r.Digest, optional(word(r.Commit)), optional(flag(r.Dirty)), word(r.Who), word(r.From))
	s.end()
	patient, cancel := within(ctx, s.bounds.answerWithin(), "answer")
	defer cancel()
	for {
		line, err := s.line(patient)
		if err != nil {
			return errors.Join(errNotNoted, err)
		}
		if line == answerNoted {
			return nil
		}
	}
}

var errNotNoted = errors.New("the server did not note the commit")

// optional is a word of an order for what may be empty.
func optional(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
