package remote

import (
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                               "plain",
		" two\r\n\tlines ":                    "two lines",
		"\x1b[31mred\x1b[0m":                  "red",
		"\x1b]0;title\x07x\x1b]8;;u\x1b\\y":   "xy",
		"\x1bP1;2q payload \x1b\\z":           "z",
		"\x1bc\x1b(Breset":                    "reset",
		"bell\x07 back\x08space \u202eevil":   "bell backspace evil",
		"\u009b31mC1":                         "31mC1",
		"bad \xff utf8":                       "bad ? utf8",
		"Grüße 世界":                            "Grüße 世界",
		strings.Repeat("x", 30):               strings.Repeat("x", 20) + "…",
		"\x1b[" + strings.Repeat("1", 10_000): "",
	} {
		assert.Equal(t, want, printable(in, 20), "%q", in)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m \x1b]0;t\x07")
	f.Fuzz(func(t *testing.T, s string) {
		out := printable(s, 50)
		assert.True(t, utf8.ValidString(out))
		assert.LessOrEqual(t, len(out), 50+len("…"))
		assert.False(t, strings.ContainsFunc(out, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }), "%q", out)
	})
}

func TestQuote(t *testing.T) {
	t.Parallel()
	words := []string{"", "a", "two words", `it's`, `"$HOME" \ $(id)` + "`id`", "new\nline", "*?[", "-n", "ü", "'''"}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `for w in `+strings.Join(quoted, " ")+`; do printf '%s\001' "$w"; done`).Output()
	require.NoError(t, err)
	assert.Equal(t, strings.Join(words, "\x01")+"\x01", string(out))
	assert.Equal(t, "'ab'", Quote("a\x00b"))
}
