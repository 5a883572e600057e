package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"golang.org/x/crypto/ssh"
)

// writerGrace is how long a cancelled command waits for a write to the caller's
// Stdout or Stderr that is under way.
const writerGrace = time.Second

// Cmd is a command for a server.
type Cmd struct {
	// Terminal gives the command a terminal on the server; nil is none. With one,
	// an empty Line is the user's login shell, and all output comes by Stdout.
	Terminal *Terminal

	Line           string    // what the remote user's shell is given; see Quote
	Stdin          io.Reader // nil is empty; read until it ends or the command does
	Stdout, Stderr io.Writer // nil discards; neither is written to by two goroutines at once, nor after the command's end
}

// Process is a running command.
type Process struct {
	c    *Client
	cmd  Cmd
	s    *session
	out  *gate // before cmd.Stdout
	errs *gate // before cmd.Stderr
	tail tail

	running bool // it was given up before its end

	done chan struct{}
	err  error // valid once done is closed
}

// Start begins a command and returns without waiting for the server to confirm
// it. ctx governs its whole life: when it ends, Wait returns at once with the
// context's error, the command's channel is closed, and the command is sent
// SIGTERM. sshd passes signals on to users other than root only; a command of
// root's learns of the end when it reads its standard input or writes. Wait must be
// called.
func (c *Client) Start(ctx context.Context, cmd Cmd) (*Process, error) {
	s, err := c.session(ctx)
	if err != nil {
		return nil, err
	}
	p := &Process{c: c, cmd: cmd, s: s, done: make(chan struct{})}
	p.out, p.errs = gatesFor(cmd.Stdout, cmd.Stderr)
	go p.run(ctx)
	return p, nil
}

// Run runs a command to its end. Its error is an [*ExitError] if the command
// failed, wraps [ErrLost] if its end or the end of its output is not known, or wraps
// the context's.
func (c *Client) Run(ctx context.Context, cmd Cmd) error {
	p, err := c.Start(ctx, cmd)
	if err != nil {
		return err
	}
	return p.Wait()
}

// Wait waits for the end of the command; its error is as that of Run.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

func (p *Process) run(ctx context.Context) {
	defer close(p.done)
	refused := make(chan error, 1)
	answered := make(chan struct{})
	go p.exec(refused, answered)
	copied := p.copyOutput()
	p.err = p.await(ctx, copied, refused, answered)
	go p.hangUp() // it can block on a dead link, and nobody has to wait for it
	if p.err != nil {
		shut(writerGrace, p.out, p.errs)
	}
}

// Signal sends the command a signal, named without SIG: "INT", "HUP". sshd passes
// signals on to users other than root only; a key of the terminal that stands for one
// is sent by Stdin.
func (p *Process) Signal(name string) error {
	_, err := p.s.SendRequest("signal", false, ssh.Marshal(struct{ Signal string }{name}))
	return err
}

// hangUp closes the channel, and before that asks for the end of a command that
// still runs.
func (p *Process) hangUp() {
	if p.running {
		_ = p.Signal("TERM")
	}
	_ = p.s.Close()
}

// exec asks for the command and then feeds it. Waiting for the confirmation costs
// nothing: until then OpenSSH gives the channel no window to write into.
func (p *Process) exec(refused chan<- error, answered chan<- struct{}) {
	ok, err := p.begin()
	if err == nil && !ok {
		refused <- next.With(fmt.Errorf("%s refuses to run %q", p.c.target.name(), shorten(p.cmd.Line)),
			next.Words("check for a forced command or a restricted shell for this user, and for free processes and memory on the server"))
	}
	close(answered)
	if err != nil || !ok {
		return // if the channel is closed, await sees it
	}
	if p.cmd.Stdin != nil {
		// A command may end without reading all its input: its status decides.
		_, _ = io.Copy(p.s, p.cmd.Stdin)
	}
	_ = p.s.CloseWrite()
}

// begin asks for the terminal, if there is to be one, and for the command.
func (p *Process) begin() (ok bool, err error) {
	t := p.cmd.Terminal
	if t == nil {
		return p.s.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{p.cmd.Line}))
	}
	if ok, err := p.s.SendRequest("pty-req", true, t.request()); err != nil || !ok {
		return ok, err
	}
	go t.follow(p)
	if p.cmd.Line == "" {
		return p.s.SendRequest("shell", true, nil)
	}
	return p.s.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{p.cmd.Line}))
}

// copyOutput starts copying both streams and returns a channel that gets the
// first error of a writer, or is closed when both streams ended.
func (p *Process) copyOutput() <-chan error {
	failed := make(chan error, 2)
	var streams sync.WaitGroup
	stream := func(to io.Writer, from io.Reader) {
		streams.Go(func() {
			if _, err := io.Copy(to, arrived{from}); err != nil {
				failed <- err
			}
		})
	}
	stream(p.out.writer(p.cmd.Stdout), p.s)
	stream(io.MultiWriter(&p.tail, p.errs.writer(p.cmd.Stderr)), p.s.Stderr())
	go func() { streams.Wait(); close(failed) }()
	return failed
}

// await finds out how the command ended. Output and exit status come in either
// order; a server that reported both need not close the channel.
func (p *Process) await(ctx context.Context, copied, refused <-chan error, answered <-chan struct{}) error {
	select {
	case err, failed := <-copied:
		if failed {
			p.running = true
			return fmt.Errorf("output of %q on %s: %w", shorten(p.cmd.Line), p.c.target.name(), err)
		}
	case err := <-refused:
		return err
	case <-ctx.Done():
		return p.cancelled(ctx)
	}
	select {
	case <-p.s.reported:
	case <-p.s.over:
		<-answered // a refusal and the channel's end may come together
	case err := <-refused:
		return err
	case <-ctx.Done():
		return p.cancelled(ctx)
	}
	select {
	case err := <-refused:
		return err
	default:
		return p.outcome()
	}
}

func (p *Process) cancelled(ctx context.Context) error {
	p.running = true
	return fmt.Errorf("running %q on %s: %w", shorten(p.cmd.Line), p.c.target.name(), context.Cause(ctx))
}

func (p *Process) outcome() error {
	select {
	case <-p.s.reported:
	default:
		if p.c.link.reason() != nil {
			return p.c.lost(shorten(p.cmd.Line))
		}
		return &LostError{Name: p.c.target.name(), During: shorten(p.cmd.Line),
			Err: errors.New("the server did not say how the command ended")}
	}
	if p.s.exit == (exitReport{}) {
		return p.whole()
	}
	return &ExitError{Name: p.c.target.name(), Line: shorten(p.cmd.Line),
		Code: p.s.exit.code, Signal: p.s.exit.signal, Stderr: p.tail.String()}
}

// whole says whether all output of a command that succeeded can have arrived. sshd may
// report the end first, and the library ends a stream in the same way when the
// connection broke as when all was sent.
func (p *Process) whole() error {
	if p.cmd.Stdout == nil || p.c.link.reason() == nil {
		return nil
	}
	return p.c.lost(shorten(p.cmd.Line))
}

// arrived reads what came, and tells of an end only when all of it was read: a
// connection that broke is not a writer of the caller's that failed.
type arrived struct{ io.Reader }

func (a arrived) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	if n > 0 {
		err = nil
	}
	return n, err
}

var errEnded = errors.New("the command has ended")

// gate stands before one of a caller's writers: one write at a time, and none once
// shut.
type gate struct {
	turn chan struct{} // holds one token during a write
	shut atomic.Bool
}

func newGate() *gate { return &gate{turn: make(chan struct{}, 1)} }

// gatesFor gives each writer a gate of its own, because what one of them waits for
// may come through the other; one that takes both streams has one for both.
func gatesFor(stdout, stderr io.Writer) (out, err *gate) {
	out = newGate()
	if reflect.ValueOf(stdout).Comparable() && stdout == stderr {
		return out, out
	}
	return out, newGate()
}

func (g *gate) writer(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return &gated{g, w}
}

type gated struct {
	gate *gate
	w    io.Writer
}

func (g *gated) Write(b []byte) (int, error) {
	g.gate.turn <- struct{}{}
	defer func() { <-g.gate.turn }()
	if g.gate.shut.Load() {
		return 0, errEnded
	}
	return g.w.Write(b)
}

// shut keeps further writes out. It waits for those that are under way, but not for
// ever: a writer can be stuck.
func shut(grace time.Duration, gates ...*gate) {
	for _, g := range gates {
		g.shut.Store(true)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for _, g := range gates {
		select {
		case g.turn <- struct{}{}:
			<-g.turn
		case <-timer.C:
			return
		}
	}
}

// tailSize is how much of the standard error of a failed command is kept, in bytes.
const tailSize = 4 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b[max(0, len(b)-tailSize):]...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// ErrTooMuchOutput is wrapped by the error of Output when a command prints more
// than it may.
var ErrTooMuchOutput = errors.New("more output than expected")

// Output runs line and returns its standard output, at most limit bytes of it. A
// command that prints more is ended, and the error wraps [ErrTooMuchOutput]. If
// the command fails, what it printed until then is returned with the error.
func (c *Client) Output(ctx context.Context, line string, stdin io.Reader, limit int64) ([]byte, error) {
	out := &limited{left: limit}
	err := c.Run(ctx, Cmd{Line: line, Stdin: stdin, Stdout: out})
	return out.buf.Bytes(), err
}

// limited is a buffer that takes so much and no more.
type limited struct {
	buf  bytes.Buffer
	left int64
}

func (l *limited) Write(b []byte) (int, error) {
	if int64(len(b)) > l.left {
		return 0, ErrTooMuchOutput
	}
	l.left -= int64(len(b))
	return l.buf.Write(b)
}
