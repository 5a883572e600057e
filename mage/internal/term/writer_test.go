package term

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// stopped is a terminal that takes nothing until it is told to go on.
type stopped struct {
	mu   sync.Mutex
	b    bytes.Buffer
	goOn chan struct{}
}

func (s *stopped) Write(p []byte) (int, error) {
	<-s.goOn
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *stopped) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Ctrl-S in the middle of an update must not keep anybody from confirming it.
func TestStoppedTerminalHoldsUpNoWork(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]Option{"plain": nil, "live": {WithTerminal(80, 24)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				terminal := &stopped{goOn: make(chan struct{})}
				u := New(strings.NewReader(""), &bytes.Buffer{}, terminal, options...)
				display := u.Progress("web")
				line := display.Host("web")
				line.Phase("building")
				for range 1000 {
					line.Output([]byte("a line of the log\n"))
				}
				line.Phase("confirming")
				line.Done("updated", nil)
				assert.Empty(t, terminal.String(), "and it is all done by now")
				close(terminal.goOn)
				display.Close()
				u.Info("afterwards")
				told := terminal.String()
				assert.Equal(t, 1000, strings.Count(told, "a line of the log"))
				assert.Less(t, strings.LastIndex(told, "a line of the log"), strings.Index(told, "updated"))
				assert.Less(t, strings.Index(told, "updated"), strings.Index(told, "afterwards"))
			})
		})
	}
}

// What is said when nothing is under way is said before anything else happens.
func TestWithoutADisplayEveryWordIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		terminal := &stopped{goOn: make(chan struct{})}
		u := New(strings.NewReader(""), &bytes.Buffer{}, terminal)
		told := make(chan struct{})
		go func() {
			u.Info("careful")
			close(told)
		}()
		synctest.Wait()
		select {
		case <-told:
			t.Error("nobody has read it yet")
		default:
		}
		close(terminal.goOn)
		<-told
		assert.Equal(t, "careful\n", terminal.String())
	})
}

// A terminal that stays stopped costs so much memory, and what was left out is said.
func TestBacklogIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		terminal := &stopped{goOn: make(chan struct{})}
		w := &writer{to: terminal}
		w.work(1)
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 40 {
			_, _ = w.Write(chunk)
		}
		close(terminal.goOn)
		w.flush()
		told := terminal.String()
		assert.LessOrEqual(t, len(told), maxBacklog+2<<20)
		assert.Contains(t, told, "left out here")
	})
}
