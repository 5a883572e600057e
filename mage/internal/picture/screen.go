package picture

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// cell is one character on the screen, and the SGR parameter it is shown in: ""
// or one of those that package term uses.
type cell struct {
	char  rune
	style string
}

// Screen is what a terminal shows, with all that has scrolled off its top. It
// understands what our programs write: text, line ends, colours, moving up, and
// erasing.
type Screen struct {
	columns  int
	lines    [][]cell
	row, col int
	style    string
}

// NewScreen is an empty screen.
func NewScreen(columns int) *Screen { return &Screen{columns: columns} }

// Write shows text. Characters may not be cut in two by its end; it never fails.
func (s *Screen) Write(text []byte) (int, error) {
	n := len(text)
	for len(text) > 0 {
		char, size := utf8.DecodeRune(text)
		switch char {
		case '\x1b':
			size = s.escape(text)
		case '\n':
			s.row++
		case '\r':
			s.col = 0
		default:
			s.put(char)
		}
		text = text[size:]
	}
	return n, nil
}

func (s *Screen) put(char rune) {
	if char < ' ' {
		return
	}
	if s.col == s.columns {
		s.row, s.col = s.row+1, 0
	}
	line := s.line()
	for len(*line) <= s.col {
		*line = append(*line, cell{char: ' '})
	}
	(*line)[s.col] = cell{char, s.style}
	s.col++
}

// line is the one that the cursor is in.
func (s *Screen) line() *[]cell {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, nil)
	}
	return &s.lines[s.row]
}

// escape carries out the sequence that text begins with and returns its length.
func (s *Screen) escape(text []byte) int {
	if len(text) < 2 || text[1] != '[' {
		return min(2, len(text))
	}
	end := 2
	for end < len(text) && (text[end] < 0x40 || text[end] > 0x7e) {
		end++
	}
	if end == len(text) {
		return end
	}
	s.control(text[end], string(text[2:end]))
	return end + 1
}

func (s *Screen) control(command byte, parameter string) {
	switch command {
	case 'A':
		n, err := strconv.Atoi(parameter)
		if err != nil || n < 1 {
			n = 1
		}
		s.row = max(0, s.row-n)
	case 'J':
		s.eraseLine()
		s.lines = s.lines[:min(len(s.lines), s.row+1)]
	case 'K':
		s.eraseLine()
	case 'm':
		s.style = strings.TrimPrefix(parameter, "0")
	}
}

// eraseLine erases from the cursor to the end of its line.
func (s *Screen) eraseLine() {
	line := s.line()
	*line = (*line)[:min(len(*line), s.col)]
}

// Text is what is on the screen, without colours and blanks at the ends of lines.
func (s *Screen) Text() string {
	var b strings.Builder
	for _, line := range s.lines {
		var text strings.Builder
		for _, c := range line {
			text.WriteRune(c.char)
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// Type shows a line that a person types.
func (s *Screen) Type(line string) {
	if s.row > 0 {
		_, _ = s.Write([]byte("\r\n"))
	}
	_, _ = fmt.Fprintf(s, "\x1b[%sm%s\x1b[0m\r\n", prompt, line)
}
