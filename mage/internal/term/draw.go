package term

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// draw brings the screen up to date, if it is not.
func (p *live) draw() {
	if p.paused || p.u.tells.behind() {
		return
	}
	columns := p.u.size().width
	text, shown := p.render()
	if p.above.Len() == 0 && slices.Equal(text, p.drawn) {
		return
	}
	var b strings.Builder
	b.WriteString(p.up(columns))
	if p.above.Len() > 0 {
		b.WriteString("\x1b[J") // what stays may be longer than the screen is wide
		b.WriteString(p.above.String())
		p.above.Reset()
	}
	for _, line := range shown {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	p.drawn = text
	_, _ = io.WriteString(p.u.tells, b.String())
}

// erase takes the lines off the screen, for somebody else to write there.
func (p *live) erase() {
	if len(p.drawn) > 0 && !p.paused {
		_, _ = io.WriteString(p.u.tells, p.up(p.u.size().width)+"\x1b[J")
		p.drawn = nil
	}
}

// up moves to the beginning of the first drawn line. Where the window has
// become narrower, a line that was drawn before takes several rows.
func (p *live) up(columns int) string {
	rows := 0
	for _, line := range p.drawn {
		rows += max(1, (Width(line)+columns-1)/max(1, columns))
	}
	if rows == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA", rows)
}

// render gives the lines as text and as they are painted. Not more than fit:
// a line that has left the screen cannot be changed. One column stays free,
// because terminals differ about what follows a full line.
func (p *live) render() (text, shown []string) {
	screen := p.u.size()
	room := max(1, screen.height-2)
	for i, l := range p.lines {
		if i == room-1 && len(p.lines) > room {
			rest := cut(fmt.Sprintf("… and %d more", len(p.lines)-i), screen.width-1)
			return append(text, rest), append(shown, rest)
		}
		head := cut(p.head(l)+"  "+l.now, screen.width-1)
		tail := ""
		if l.last != "" && !p.single {
			tail = cut("  "+l.last, screen.width-1-Width(head))
		}
		text = append(text, head+tail)
		shown = append(shown, head+p.u.paint(p.u.err, dim, tail))
	}
	return text, shown
}
