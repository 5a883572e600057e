package remote

import (
	"cmp"

	"golang.org/x/crypto/ssh"
)

// Terminal is what a command on a terminal of the server's needs to know of the one
// here. Who puts that into raw mode, and back, is the caller.
type Terminal struct {
	Type string // as in $TERM; "xterm" when empty
	Size Size
	// Resized, if not nil, gives the size whenever it changes.
	Resized <-chan Size
}

// Size is that of a terminal, in characters. Zero is 80 by 24.
type Size struct{ Columns, Rows int }

func (s Size) orUsual() (columns, rows uint32) {
	return uint32(max(cmp.Or(s.Columns, 80), 1)), uint32(max(cmp.Or(s.Rows, 24), 1))
}

// request is the payload of "pty-req" (RFC 4254, section 6.2). The modes are left to
// the server: a program that wants others sets them, as it would on a console.
func (t *Terminal) request() []byte {
	columns, rows := t.Size.orUsual()
	return ssh.Marshal(struct {
		Type          string
		Columns, Rows uint32
		Width, Height uint32 // in pixels, not known
		Modes         string
	}{cmp.Or(t.Type, "xterm"), columns, rows, 0, 0, "\x00"})
}

// follow tells the server each new size, until the command has ended.
func (t *Terminal) follow(p *Process) {
	for {
		select {
		case size, more := <-t.Resized:
			if !more {
				return
			}
			columns, rows := size.orUsual()
			_, _ = p.s.SendRequest("window-change", false, ssh.Marshal(struct{ Columns, Rows, Width, Height uint32 }{columns, rows, 0, 0}))
		case <-p.done:
			return
		}
	}
}
