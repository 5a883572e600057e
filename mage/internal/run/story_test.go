package run

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// heard is an observer that writes down.
type heard struct{ lines []string }

func (h *heard) Phase(text string) { h.lines = append(h.lines, text+" …") }
func (h *heard) Output(p []byte) {
	for line := range strings.Lines(string(p)) {
		h.lines = append(h.lines, strings.TrimRight(line, "\n"))
	}
}

// Lines of the build came after "confirming": status and log are two streams, and
// either may be late. The status lines in the log say where each belongs.
func TestStoryIsToldInOrder(t *testing.T) {
	t.Parallel()
	const log = "--- 1 staging\n--- 2 building\nbuilding the system\n--- 3 switching system=/a\nactivating\n"
	want := []string{"staging …", "building …", "building the system", "switching …", "activating"}
	status := []string{"1 staging", "2 building", "3 switching system=/a"}
	text := func(line string) string { s, _ := ParseStatus(line); return s.Text() }
	for name, tell := range map[string]func(*story){
		"status first": func(s *story) {
			for _, line := range status {
				s.phase(line, text(line))
			}
			s.log([]byte(log))
		},
		"log first": func(s *story) {
			s.log([]byte(log))
			for _, line := range status {
				s.phase(line, text(line))
			}
		},
		"byte by byte": func(s *story) {
			for i, b := range []byte(log) {
				if i%30 == 0 && i/30 < len(status) {
					s.phase(status[i/30], text(status[i/30]))
				}
				s.log([]byte{b})
			}
		},
	} {
		h := &heard{}
		s := &story{to: h}
		tell(s)
		s.flush()
		joined := strings.Join(h.lines, "\n")
		if name == "byte by byte" { // its lines come in pieces
			joined = strings.ReplaceAll(strings.ReplaceAll(joined, "\n", ""), "…", "…\n")
			assert.Equal(t, strings.ReplaceAll(strings.ReplaceAll(strings.Join(want, "\n"), "\n", ""), "…", "…\n"), joined, name)
			continue
		}
		assert.Equal(t, want, h.lines, name)
	}
}

// A log that is not shown any more has no places: the phases are told all the same.
func TestStoryWithoutALog(t *testing.T) {
	t.Parallel()
	h := &heard{}
	s := &story{to: h}
	s.phase("1 building", "building")
	assert.Empty(t, h.lines)
	s.overdue(time.Now().Add(maxLag))
	assert.Equal(t, []string{"building …"}, h.lines)
	s.log([]byte("--- not a status line\n"))
	assert.Equal(t, "--- not a status line", h.lines[1])
}
