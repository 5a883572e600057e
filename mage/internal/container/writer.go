package container

import (
	"io"
	"sync"
)

// oneAtATime lets two streams, each copied by a goroutine of its own, end in
// one writer.
func oneAtATime(stdout, stderr io.Writer) (io.Writer, io.Writer) {
	mu := &sync.Mutex{}
	return lockedWriter{mu, stdout}, lockedWriter{mu, stderr}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// tailSize is enough for what an engine says when it cannot start a container.
const tailSize = 4096

// tail keeps the last bytes written to it.
type tail struct{ last []byte }

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	if over := len(t.last) - tailSize; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	return string(t.last)
}
