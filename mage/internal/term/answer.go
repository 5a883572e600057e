package term

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Out is stdout, for an answer of bytes that must not be touched.
func (u *UI) Out() io.Writer { return answerWriter{u} }

// Answer writes a line to stdout.
func (u *UI) Answer(format string, args ...any) {
	u.answer([]byte(cleanLines(fmt.Sprintf(format, args...)) + "\n"))
}

// JSON writes v to stdout, indented. What a terminal could take for a command
// is escaped.
func (u *UI) JSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return u.answer([]byte(escapeJSON(b.String())))
}

// escapeJSON writes the characters that Clean would escape as JSON does. They
// can only be inside strings.
func escapeJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || harmless(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

type answerWriter struct{ u *UI }

func (w answerWriter) Write(p []byte) (int, error) {
	if err := w.u.answer(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// answer writes to stdout, which may be the same terminal as stderr: live lines
// make room.
func (u *UI) answer(p []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.live != nil {
		u.live.settle()
		defer u.live.draw()
	}
	_, err := u.out.Write(p)
	return err
}
