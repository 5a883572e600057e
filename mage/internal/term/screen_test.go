package term

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// screen is a terminal of a fixed size that understands what the UI sends, and
// fails the test at anything else.
type screen struct {
	t             *testing.T
	width, height int

	mu     sync.Mutex
	rows   [][]rune
	top    int // the first row that has not scrolled away
	y, x   int // y counts from the very first row
	writes int
}

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height, rows: [][]rune{nil}}
}

var sequence = regexp.MustCompile(`^\x1b\[([0-9]*)([AJKm])`)

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	for rest := string(p); rest != ""; {
		if m := sequence.FindStringSubmatch(rest); m != nil {
			s.control(m[1], m[2])
			rest = rest[len(m[0]):]
			continue
		}
		r := []rune(rest)[0]
		s.put(r)
		rest = rest[len(string(r)):]
	}
	return len(p), nil
}

func (s *screen) control(parameter, final string) {
	n, _ := strconv.Atoi(parameter)
	switch final {
	case "A":
		s.y = max(s.top, s.y-n)
	case "K":
		s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
	case "J":
		s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
		s.rows = s.rows[:s.y+1]
	}
}

func (s *screen) put(r rune) {
	switch r {
	case '\r':
		s.x = 0
	case '\n':
		s.x = 0
		s.down()
	default:
		if r < ' ' {
			s.t.Errorf("the screen got the control character %q", r)
		}
		if s.x >= s.width {
			s.x = 0
			s.down()
		}
		row := s.rows[s.y]
		for len(row) <= s.x {
			row = append(row, ' ')
		}
		row[s.x] = r
		s.rows[s.y] = row
		s.x += runeWidth(r)
	}
}

func (s *screen) down() {
	s.y++
	if s.y == len(s.rows) {
		s.rows = append(s.rows, nil)
	}
	s.top = max(s.top, s.y-s.height+1)
}

// text is all rows, those that scrolled away included.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for i, row := range s.rows {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight(string(row), " "))
	}
	return b.String()
}

func (s *screen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// noEnv is an environment without variables.
func noEnv(string) string { return "" }

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// piped is a UI without a terminal, and what it writes.
func piped(options ...Option) (u *UI, out, story *buffer) {
	out, story = new(buffer), new(buffer)
	return New(strings.NewReader(""), out, story, append([]Option{WithEnv(noEnv)}, options...)...), out, story
}

func TestScreenKnowsWhatItIsSent(t *testing.T) {
	t.Parallel()
	s := newScreen(t, 4, 2)
	_, err := io.WriteString(s, "abcdef\nx\n\x1b[1Ay\x1b[K")
	require.NoError(t, err)
	require.Equal(t, "abcd\nef\ny\n", s.text())
}
