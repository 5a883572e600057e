package run

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// maxLag is how long a phase waits for its place in the log, which comes on another
// stream.
const maxLag = 500 * time.Millisecond

// story tells an observer what happens in a run in the order in which it happened.
// Status lines come on one stream and the log on another, so that either may be late;
// but the supervisor writes each status line into the log, too.
type story struct {
	to Observer

	mu      sync.Mutex
	waiting []phaseLine     // status lines whose place in the log has not come yet
	told    map[string]bool // status lines that were told
	partial []byte          // the beginning of a log line that may become a status line
	inside  bool            // a log line was told in part
}

type phaseLine struct {
	line, text string
	since      time.Time
}

// now tells what this side does.
func (t *story) now(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.to.Phase(text)
}

// phase takes a status line, and what it says.
func (t *story) phase(line, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.told[line] {
		t.waiting = append(t.waiting, phaseLine{line, text, time.Now()})
	}
}

// log takes what was added to the log.
func (t *story) log(data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(data) > 0 {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		if ended {
			line = data[:len(line)+1]
		}
		data = rest
		t.take(line, ended)
	}
}

// take takes a log line, or a part of one.
func (t *story) take(part []byte, ended bool) {
	if t.inside {
		t.to.Output(part)
		t.inside = !ended
		return
	}
	t.partial = append(t.partial, part...)
	if !ended && len(t.partial) < maxLine && mayBePhase(t.partial) {
		return
	}
	line := t.partial
	t.partial, t.inside = nil, !ended
	if text, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), phaseMark); ok && ended {
		if s, err := ParseStatus(text); err == nil && s.Phase != "" {
			t.reached(text, s)
			return
		}
	}
	t.to.Output(line)
}

func mayBePhase(start []byte) bool {
	n := min(len(start), len(phaseMark))
	return string(start[:n]) == phaseMark[:n]
}

// reached tells a status line whose place in the log has come, and those before it.
func (t *story) reached(line string, s Status) {
	for i, w := range t.waiting {
		if w.line == line {
			t.tell(i + 1)
			return
		}
	}
	if t.told[line] {
		return
	}
	t.tell(len(t.waiting))
	t.mark(line)
	t.to.Phase(s.Text())
}

// tell tells the first n that wait.
func (t *story) tell(n int) {
	for _, w := range t.waiting[:n] {
		t.mark(w.line)
		t.to.Phase(w.text)
	}
	t.waiting = t.waiting[n:]
}

func (t *story) mark(line string) {
	if t.told == nil {
		t.told = map[string]bool{}
	}
	if len(t.told) < maxStatus {
		t.told[line] = true
	}
}

// overdue tells what has waited for too long: a log that is not shown any more, or
// one of an older supervisor, has no places.
func (t *story) overdue(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.waiting) && now.Sub(t.waiting[n].since) >= maxLag {
		n++
	}
	t.tell(n)
}

// flush tells all that is left.
func (t *story) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(len(t.waiting))
	if len(t.partial) > 0 {
		t.to.Output(t.partial)
		t.partial = nil
	}
}
