package term

import (
	"context"
	"fmt"
	"io"
	"os"

	xterm "golang.org/x/term"
)

// maxAnswer bounds what is typed in answer to a question, in bytes.
const maxAnswer = 4096

// readHidden reads a line that is not echoed, which leaves the cursor where it
// is: the line break is ours.
func (u *UI) readHidden(ctx context.Context) ([]byte, error) {
	show := func(bool) {}
	if f, ok := u.in.(*os.File); ok && xterm.IsTerminal(int(f.Fd())) {
		restore, err := hideInput(int(f.Fd()))
		if err != nil {
			return nil, fmt.Errorf("hide what is typed: %w", err)
		}
		show = restore
	}
	line, err := u.readLine(ctx)
	show(err != nil)
	if err == nil {
		u.newline()
	}
	return line, err
}

// readLine reads up to a line break, byte by byte: what follows belongs to the
// next question, or to another program.
func (u *UI) readLine(ctx context.Context) ([]byte, error) {
	var line []byte
	for {
		b, err := u.readByte(ctx)
		if err == io.EOF && len(line) > 0 {
			err, b = nil, '\n'
		}
		switch {
		case err != nil:
			return nil, err
		case b == '\n':
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			return line, nil
		case len(line) == maxAnswer:
			return nil, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
		}
		line = append(line, b)
	}
}

func (u *UI) readByte(ctx context.Context) (byte, error) {
	if f, ok := u.in.(*os.File); ok {
		if err := waitReadable(ctx, int(f.Fd())); err != nil {
			return 0, err
		}
		return readOne(f)
	}
	type result struct {
		b   byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := readOne(u.in)
		done <- result{b, err}
	}()
	select {
	case r := <-done:
		return r.b, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func readOne(r io.Reader) (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}
