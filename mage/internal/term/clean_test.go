package term

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                             "",
		"plain ünïcode 日本 👩‍🚀 ✓":       "plain ünïcode 日本 👩‍🚀 ✓",
		"a\tb":                         "a b",
		"\x1b[31;1mred\x1b[0m":         "red",
		"\x1b[?25lhidden\x1b[2J\x1b[H": "hidden",
		"\x1b[38:2::1:2:3mtrue colour": "true colour",
		"\x1b]0;title\x07after":        "after",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
		"\x1b]52;c;c3RvbGVu\u009cafter":            "after",
		"\x1bPq#0\x1b\\after":                      "after",
		"\x1b]0;no end, so it shows":               "0;no end, so it shows",
		"\x1b]0;a\x1b[31mb":                        "0;ab",
		"\u009b31mC1\u009d0;t\x07 too":             "C1 too",
		"\x1b(Bcharset\x1bM\x1b7\x1b":              "charset",
		"bell\a back\b line\nfeed\rreturn":         `bell\x07 back\x08 line\x0afeed\x0dreturn`,
		"NUL\x00DEL\x7fNEL\u0085":                  `NUL\x00DEL\x7fNEL\u0085`,
		"bidi \u202e \u2066 \u200f":                `bidi \u202e \u2066 \u200f`,
		"separators \u2028\u2029":                  `separators \u2028\u2029`,
		"invisible \u200b\ufeff\U000e0041":         `invisible \u200b\ufeff\U000e0041`,
		"bytes \xff\xc2":                           `bytes \xff\xc2`,
		"split \xc2\x1b[m\x9b31m":                  `split \xc2\x9b31m`,
		"\x1b[31":                                  "",
		"real replacement \ufffd":                  "real replacement \ufffd",
	} {
		assert.Equal(t, want, Clean(in), "%q", in)
	}
}

func TestCleanIsBounded(t *testing.T) {
	t.Parallel()
	exact := strings.Repeat("ü", maxClean)
	assert.Equal(t, exact, Clean(exact))
	long := Clean(exact + "x")
	assert.Equal(t, maxClean, utf8.RuneCountInString(long))
	assert.True(t, strings.HasSuffix(long, "ü…"))
}

func TestCut(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "abc", cut("abc", 3))
	assert.Equal(t, "ab…", cut("abcd", 3))
	assert.Equal(t, "日…", cut("日本語", 4))
	assert.Equal(t, "日…", cut("日本語", 3))
	assert.Equal(t, "…", cut("abc", 1))
	assert.Empty(t, cut("abc", 0))
	assert.Empty(t, cut("abc", -1))
}

func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31mred\x1b[0m \x1b]0;title\a")
	f.Add("\u009b\u202e\xff\xc2\x9b")
	f.Add("\x1b]\x1b]\x1b\\")
	f.Fuzz(func(t *testing.T, in string) {
		out := Clean(in)
		if !utf8.ValidString(out) || utf8.RuneCountInString(out) > maxClean {
			t.Fatalf("%q became %q", in, out)
		}
		for _, r := range out {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q became %q", in, out)
			}
		}
		if again := Clean(out); again != out {
			t.Fatalf("%q became %q and then %q", in, out, again)
		}
		if w := Width(cut(out, 20)); w > 20 {
			t.Fatalf("%q cut to 20 columns takes %d", out, w)
		}
	})
}
