package secrets

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// fakeConsole answers from a list, and remembers what was said.
type fakeConsole struct {
	absent  bool // nobody at the terminal
	answers []string

	mu   sync.Mutex
	said []string
}

func (c *fakeConsole) Interactive() bool { return !c.absent }

func (c *fakeConsole) Say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

func (c *fakeConsole) Ask(_ context.Context, question string) (string, error) {
	c.Say("%s", question)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) == 0 {
		return "", io.EOF
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	return answer, nil
}

func (c *fakeConsole) AskHidden(ctx context.Context, question string) (string, error) {
	return c.Ask(ctx, question)
}

func (c *fakeConsole) story() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.said, "\n")
}
