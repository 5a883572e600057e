package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
)

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
