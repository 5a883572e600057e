package picture

import (
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestScreenShowsWhatATerminalWould(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ written, want string }{
		"lines":               {"a\r\nb\r\n", "a\nb\n"},
		"overwritten":         {"abc\rX\r\n", "Xbc\n"},
		"erased to the right": {"abc\rX\x1b[K\r\n", "X\n"},
		"one up and anew":     {"one\r\ntwo\r\n\r\x1b[2A1\x1b[K\r\n\x1b[J", "1\n"},
		"up without a number": {"one\r\n\x1b[Atwo\r\n", "two\n"},
		"up past the top":     {"one\r\n\x1b[9Atwo\r\n", "two\n"},
		"colour":              {"\x1b[31merror: \x1b[0mx\r\n", "error: x\n"},
		"wrapped":             {"abcdefghijkl\r\n", "abcdefghij\nkl\n"},
		"a full line":         {"abcdefghij\r\nk\r\n", "abcdefghij\nk\n"},
		"not ASCII":           {"web …\r\n", "web …\n"},
		"unknown sequences":   {"\x1b[?25la\x1b]b\r\n", "ab\n"},
		"cut in a sequence":   {"a\x1b[3", "a\n"},
		"cut after escape":    {"a\x1b", "a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewScreen(10)
			_, err := s.Write([]byte(c.written))
			require.NoError(t, err)
			assert.Equal(t, c.want, s.Text())
		})
	}
}

func TestSVGIsXMLWithEveryLineInItsColour(t *testing.T) {
	t.Parallel()
	s := NewScreen(40)
	s.Type("$ mage update <web>")
	_, err := s.Write([]byte("plain & \x1b[32mupdated\x1b[0m\r\n"))
	require.NoError(t, err)

	svg := s.SVG(`a "title"`)

	assert.Contains(t, svg, `class="p" xml:space="preserve">$ mage update &lt;web&gt;<`)
	assert.Contains(t, svg, `>plain &amp; <`)
	assert.Contains(t, svg, `class="g" xml:space="preserve">updated<`)
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for err == nil {
		_, err = decoder.Token()
	}
	assert.ErrorIs(t, err, io.EOF)
}

func TestRecordRunsInATerminalAndGivesTheExitCode(t *testing.T) {
	t.Parallel()
	out, exit, err := Record(t.Context(), t.TempDir(), os.Environ(), "sh", "-c", "test -t 1 && echo yes; exit 3")
	require.NoError(t, err)
	assert.Equal(t, 3, exit)
	assert.Equal(t, "yes\r\n", string(out))

	_, _, err = Record(t.Context(), t.TempDir(), nil, "/no/such/program")
	assert.Error(t, err)
}

func FuzzScreen(f *testing.F) {
	f.Add([]byte("one\r\n\x1b[1A\x1b[Jtwo \x1b[31mred\x1b[0m"))
	f.Add([]byte("\x1b[99999999999999999999A"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := NewScreen(10)
		_, err := s.Write(text)
		require.NoError(t, err)
		for _, line := range strings.Split(s.SVG("fuzz"), "\n") {
			assert.NotContains(t, line, "\x1b")
		}
	})
}
