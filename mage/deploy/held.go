package deploy

import (
	"context"
	"io"

	"github.com/dagadbm/vps/mage/nixos"
)

// held is a command whose script is kept back: the server starts the shell that
// will read it while something else is on its way, which saves the round trip of
// asking for the shell. Until [held.ask] nothing of the script has been sent.
type held struct {
	link   *link
	script string
	stdin  *io.PipeWriter
	cancel context.CancelCauseFunc
	answer chan answer
}

type answer struct {
	out []byte
	err error
}

// hold asks for the command's shell without waiting for it. drop must be called.
func (l *link) hold(ctx context.Context, c nixos.Command) *held {
	ctx, cancel := context.WithCancelCause(ctx)
	in, stdin := io.Pipe()
	h := &held{link: l, script: c.Stdin, stdin: stdin, cancel: cancel, answer: make(chan answer, 1)}
	client := l.client
	go func() {
		out, err := client.Output(ctx, c.Line, in, maxAnswer)
		_ = in.Close() // nobody reads a script any more
		h.answer <- answer{out, err}
	}()
	return h
}

// ask sends the script and gives what it printed, as [link.ask] does.
func (h *held) ask(ctx context.Context) ([]byte, error) {
	ctx, cancel := within(ctx, h.link.p.bounds.answerWithin(), "answer")
	defer cancel()
	defer context.AfterFunc(ctx, func() { h.cancel(context.Cause(ctx)) })()
	if _, err := io.WriteString(h.stdin, h.script); err == nil {
		_ = h.stdin.Close()
	}
	a := <-h.answer
	return a.out, a.err
}

// drop ends a command that was not asked.
func (h *held) drop() {
	h.cancel(nil)
	_ = h.stdin.CloseWithError(context.Canceled)
}
