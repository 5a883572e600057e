package term

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// frame is the time between two drawings: at most ten a second.
const frame = 100 * time.Millisecond

// live draws lines that change in place, below everything else. Each drawing is
// one write: it moves up to the first line, writes what is to stay, and then
// the lines anew. All fields are guarded by the UI's lock.
type live struct {
	u      *UI
	single bool // one host: its output scrolls
	names  int  // columns of the longest name

	lines  []*Line
	above  strings.Builder // whole lines that are to stay, not yet written
	drawn  []string        // the lines on the screen, without colour
	paused bool            // a question is open
	closed bool

	stop  chan struct{}
	ended chan struct{}
	once  sync.Once
}

func newLive(u *UI, hosts []string) *live {
	p := &live{u: u, single: len(hosts) == 1, stop: make(chan struct{}), ended: make(chan struct{})}
	for _, name := range hosts {
		p.names = max(p.names, Width(Clean(name)))
	}
	return p
}

func (p *live) Host(name string) *Line {
	p.u.mu.Lock()
	defer p.u.mu.Unlock()
	if p.closed {
		return newLine(p.u, &plain{p.u}, name)
	}
	l := newLine(p.u, p, name)
	p.names = max(p.names, Width(l.name))
	p.lines = append(p.lines, l)
	return l
}

func (p *live) Close() {
	p.once.Do(func() {
		close(p.stop)
		<-p.ended
		p.u.tells.work(-1)
		p.u.tells.flush()
		p.u.mu.Lock()
		defer p.u.mu.Unlock()
		p.closed, p.paused = true, false
		p.draw()
		p.u.live = nil
		for _, l := range p.lines {
			l.board = &plain{p.u} // whoever still works is heard
		}
	})
}

// run draws as long as the display is open. A line changes by itself, because
// time passes.
func (p *live) run() {
	defer close(p.ended)
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.u.mu.Lock()
			p.draw()
			p.u.mu.Unlock()
		}
	}
}

func (p *live) phase(*Line) {}

func (p *live) output(l *Line, text string) {
	switch {
	case !p.single:
	case p.above.Len() < maxBacklog:
		p.above.WriteString(text + "\n")
	case !strings.HasSuffix(p.above.String(), leftOut):
		p.above.WriteString(leftOut)
	}
}

// settle writes what is to stay, for somebody else to write below it.
func (p *live) settle() {
	p.erase()
	if p.above.Len() > 0 && !p.paused {
		_, _ = io.WriteString(p.u.tells, p.above.String())
		p.above.Reset()
	}
}

func (p *live) done(l *Line, text string, failed bool) {
	fmt.Fprintf(&p.above, "%s  %s\n", p.head(l), l.outcome(text, failed))
	for i := range p.lines {
		if p.lines[i] == l {
			p.lines = append(p.lines[:i], p.lines[i+1:]...)
			break
		}
	}
}

// head is the part of a line that always shows.
func (p *live) head(l *Line) string {
	return fmt.Sprintf("%s  %5s", pad(l.name, p.names), l.elapsed())
}
