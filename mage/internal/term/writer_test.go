package term

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// What a person must know before they answer stands before the question.
func TestQuestionAfterWhatWasSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		terminal := &stopped{goOn: make(chan struct{})}
		u := New(strings.NewReader(""), &bytes.Buffer{}, terminal, WithTerminal(80, 24))
		display := u.Progress("web")
		display.Host("web").Phase("looking")
		time.Sleep(time.Second)
		u.Warn("important")
		u.prompt("go on? ")
		u.resume()
		close(terminal.goOn)
		display.Close()
		told := terminal.String()
		assert.Contains(t, told, "important")
		assert.Less(t, strings.Index(told, "important"), strings.Index(told, "go on?"))
	})
}

// The outcome is told whatever had to be left out.
func TestOutcomeAfterTooMuchOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		terminal := &stopped{goOn: make(chan struct{})}
		u := New(strings.NewReader(""), &bytes.Buffer{}, terminal, WithTerminal(80, 24))
		display := u.Progress("web")
		line := display.Host("web")
		chunk := bytes.Repeat([]byte("a line of the log that is not short\n"), 1<<13)
		for range 70 {
			line.Output(chunk)
		}
		line.Done("updated", nil)
		close(terminal.goOn)
		display.Close()
		told := terminal.String()
		assert.Greater(t, len(told), maxBacklog/2)
		assert.Contains(t, told, "left out here")
		assert.Contains(t, told, "updated")
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
