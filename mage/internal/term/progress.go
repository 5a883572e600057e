package term

import (
	"strings"
	"sync"
)

// Progress shows what happens on several hosts side by side.
type Progress interface {
	// Host starts the line of a host.
	Host(name string) *Line
	// Close draws the last state and ends the display. It can be called twice.
	Close()
}

// Progress starts a display for the named hosts. On a terminal each has a line
// that changes in place and is left as a plain line when the host is done; with
// one host its output scrolls above that line. Elsewhere every phase and every
// line of output is a plain line that begins with the host's name. Of two
// displays at once the later is plain.
func (u *UI) Progress(hosts ...string) Progress {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tells.work(1)
	if u.live != nil || !u.canRedraw() {
		return &plainDisplay{plain: plain{u}}
	}
	u.live = newLive(u, hosts)
	go u.live.run()
	return u.live
}

// board is where lines show up. Its methods are called with the UI locked.
type board interface {
	phase(*Line)
	output(l *Line, text string)
	done(l *Line, text string, failed bool)
}

// plainDisplay is a display of plain lines.
type plainDisplay struct {
	plain
	once sync.Once
}

func (p *plainDisplay) Host(name string) *Line { return newLine(p.u, &p.plain, name) }

func (p *plainDisplay) Close() {
	p.once.Do(func() {
		p.u.tells.work(-1)
		p.u.tells.flush()
	})
}

// plain writes lines that do not change.
type plain struct{ u *UI }

func (p *plain) phase(l *Line) { p.write(l, l.now+" …") }

func (p *plain) output(l *Line, text string) { p.write(l, "  "+text) }

func (p *plain) done(l *Line, text string, failed bool) {
	p.write(l, l.outcome(text, failed)+" ("+l.elapsed()+")")
}

func (p *plain) write(l *Line, text string) {
	p.u.tell(strings.TrimRight(l.name+": "+text, " ") + "\n")
}
