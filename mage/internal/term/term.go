// Package term is all that a person sees of this program.
//
// How it talks, stated once:
//
//   - stdout is the answer (tables, JSON, the value of a secret), stderr is the
//     story (what happens, questions, errors). A pipe behind stdout gets the
//     answer alone.
//   - Everything works without a terminal, except questions: they are asked on
//     stderr and answered on stdin, and unless both are terminals they fail
//     with [ErrNoTerminal] instead of waiting for nobody.
//   - Colour is only for terminals and never carries meaning alone. NO_COLOR
//     (not empty) turns it off whatever else is set, so do TERM=dumb and
//     CLICOLOR=0; CLICOLOR_FORCE (neither empty nor 0) turns it on in a pipe.
//   - Lines that change in place are only for a terminal on stderr that is not
//     dumb; anything else gets plain lines, each once.
//   - A terminal that takes nothing (Ctrl-S, a pager) holds up no work: what was
//     said meanwhile follows when it goes on.
//   - Text that comes from elsewhere (a server's output, a file's name) passes
//     through [Clean], so it cannot move the cursor, set a title or pretend to
//     be ours.
//   - Signals are the caller's: a cancelled context ends a question and leaves
//     the terminal as it was. The cursor is never hidden, and rests below the
//     last line, so there is nothing to restore when the program is killed.
package term

import (
	"io"
	"os"
	"sync"
	"time"

	xterm "golang.org/x/term"
)

// UI writes to one person. It is safe for use by several goroutines.
type UI struct {
	in    io.Reader
	out   io.Writer
	err   io.Writer
	tells *writer // writes to err
	env   func(string) string
	now   func() time.Time

	fake *size // set by WithTerminal

	asking chan struct{} // holds a token while a question is open

	mu   sync.Mutex // guards out, err and all that is below
	live *live      // the lines that change in place, or nil
}

type size struct{ width, height int }

// Option changes how a [UI] sees its surroundings.
type Option func(*UI)

// WithEnv takes the environment from env instead of the process.
func WithEnv(env func(string) string) Option { return func(u *UI) { u.env = env } }

// WithClock takes the time from now.
func WithClock(now func() time.Time) Option { return func(u *UI) { u.now = now } }

// WithTerminal treats all three streams as a terminal of a fixed size, in
// columns and rows, whatever they are. It is for tests.
func WithTerminal(width, height int) Option {
	return func(u *UI) { u.fake = &size{width, height} }
}

// New makes a UI of three streams. One that is an [*os.File] is asked whether
// it is a terminal; others are none.
func New(in io.Reader, out, err io.Writer, options ...Option) *UI {
	u := &UI{in: in, out: out, err: err, tells: &writer{to: err}, env: os.Getenv, now: time.Now, asking: make(chan struct{}, 1)}
	for _, option := range options {
		option(u)
	}
	return u
}

// Std is the UI of the process.
func Std() *UI { return New(os.Stdin, os.Stdout, os.Stderr) }

// Interactive says whether questions can be asked.
func (u *UI) Interactive() bool { return u.isTerminal(u.in) && u.isTerminal(u.err) }

// story writes whole lines to stderr, above the live lines.
func (u *UI) story(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tell(text)
}

// tell is story for those who hold the lock.
func (u *UI) tell(text string) {
	if u.live != nil {
		u.live.above.WriteString(text)
		u.live.draw()
		return
	}
	_, _ = io.WriteString(u.tells, text) // there is nobody left to tell
}

func (u *UI) isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return u.fake != nil || ok && f != nil && xterm.IsTerminal(int(f.Fd()))
}

// size is that of the terminal on stderr, with the classic one as a guess.
func (u *UI) size() size {
	if u.fake != nil {
		return *u.fake
	}
	if f, ok := u.err.(*os.File); ok {
		if w, h, err := xterm.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return size{w, h}
		}
	}
	return size{80, 24}
}
