package term

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Line is what a person sees of one host. It is an [io.Writer] for the host's
// output, and safe for use by several goroutines.
type Line struct {
	u     *UI
	board board
	name  string
	start time.Time

	now     string // the phase
	last    string // the last line of output that was not blank
	partial []byte // output that no line break has ended yet
	over    bool
}

func newLine(u *UI, b board, name string) *Line {
	return &Line{u: u, board: b, name: Clean(name), start: u.now()}
}

// Phase tells what the host does now, in a word or two.
func (l *Line) Phase(name string) {
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	if name = Clean(name); l.over || name == l.now {
		return
	}
	l.flush()
	l.now, l.last = name, ""
	l.board.phase(l)
}

// maxPartial bounds output without line breaks, in bytes.
const maxPartial = 8192

// Output takes output of the host, cut anywhere.
func (l *Line) Output(p []byte) {
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	if l.over {
		return
	}
	l.partial = append(l.partial, p...)
	for {
		line, rest, ended := bytes.Cut(l.partial, []byte("\n"))
		if !ended {
			break
		}
		l.partial = rest
		l.emit(string(line))
	}
	if len(l.partial) >= maxPartial {
		l.flush()
	}
}

// Write is Output; it never fails.
func (l *Line) Write(p []byte) (int, error) {
	l.Output(p)
	return len(p), nil
}

// Done ends the line with the outcome, such as "switched". An empty result is
// "done", or "failed" if there is an error, the first line of which is shown.
func (l *Line) Done(result string, err error) {
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	if l.over {
		return
	}
	l.flush()
	l.over = true
	text := cmp.Or(result, "done")
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		text = cmp.Or(result, "failed") + ": " + first
	}
	l.board.done(l, Clean(text), err != nil)
}

// flush shows output that lacks its line break.
func (l *Line) flush() {
	if len(l.partial) > 0 {
		rest := string(l.partial)
		l.partial = nil
		l.emit(rest)
	}
}

// emit shows a line of output. Of a line that was overwritten in place, as
// progress bars do, only the last version counts.
func (l *Line) emit(line string) {
	line = strings.TrimRight(line, "\r")
	line = Clean(line[strings.LastIndexByte(line, '\r')+1:])
	line = strings.TrimRight(line, " ")
	if line != "" {
		l.last = line
	}
	l.board.output(l, line)
}

// elapsed is the time since the line began, as in 4:05 or 1:04:05.
func (l *Line) elapsed() string {
	s := max(0, int(l.u.now().Sub(l.start)/time.Second))
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// outcome paints the result of a line.
func (l *Line) outcome(text string, failed bool) string {
	if failed {
		return l.u.paint(l.u.err, red, text)
	}
	return l.u.paint(l.u.err, green, text)
}
