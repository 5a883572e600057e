package tree

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The server's half of the manifest, written only from the package doc. If it
// and Collect disagree about a single byte, no update can be verified.
const serverSide = `
set -eu
export LC_ALL=C
cd "$1"
{
	find . -type f ! -perm -u+x -exec sha256sum {} + | sed 's|^\([0-9a-f]*\)  \./|f \1 |'
	find . -type f -perm -u+x -exec sha256sum {} + | sed 's|^\([0-9a-f]*\)  \./|x \1 |'
	find . -type l -exec sh -c 'for p; do
		sum=$(readlink -n "$p" | sha256sum)
		printf "l %s %s\n" "${sum%% *}" "${p#./}"
	done' sh {} +
} | sort -t ' ' -k 3
`

var nasty = map[string]string{
	"nix/a":                           "1",
	"nix/a b":                         "2",
	"nix/a  b ":                       "3",
	"nix/a-b/c":                       "4",
	"nix/a.b/c":                       "5",
	"nix/ab":                          "",
	"nix/B":                           "6",
	"nix/_":                           "7",
	"nix/dir/x":                       "8",
	"nix/dir-x":                       "9",
	"nix/dir.x":                       "10",
	"nix/grüße/ünïcode ✓":             "11",
	"nix/日本語":                         "12",
	"nix/𝒳":                           "13",
	"nix/-n":                          "14",
	"nix/*":                           "15",
	"nix/$(id)":                       "16",
	"nix/'quote\"":                    "17",
	"nix/run":                         "#!/bin/sh\n",
	"nix/deep/bin/run me":             "#!/bin/sh\nexit 1\n",
	"nix/link":                        "-> a b",
	"nix/link with blank":             "-> deep/../deep/bin/run me",
	"nix/deep/up":                     "-> ../grüße/./ünïcode ✓",
	"nix/deep/gone":                   "-> nothing here",
	"nix/tofolder":                    "-> dir",
	"nix/.hidden/.file":               "18",
	"nix/" + strings.Repeat("n", 250): "19",
}

func TestServerMakesTheSameManifest(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sha256sum"); err != nil {
		t.Skip("sha256sum is not installed")
	}
	tr := collect(t, project(t, nasty))
	a := NewArchive()
	a.AddTree("tree", tr, tr.Manifest().Entries())
	dir := unpack(t, a)
	out, err := exec.Command("sh", "-c", serverSide, "sh", dir+"/tree").Output()
	require.NoError(t, err)
	require.Equal(t, string(tr.Manifest().Bytes()), string(out))

	parsed, err := ParseManifest(strings.NewReader(string(out)), Limits{})
	require.NoError(t, err)
	assert.Equal(t, tr.Manifest().Digest(), parsed.Digest())
	assert.True(t, Diff(parsed, tr.Manifest()).Empty())
}

func TestManifestOfNothing(t *testing.T) {
	t.Parallel()
	m, err := ParseManifest(strings.NewReader(""), Limits{})
	require.NoError(t, err)
	assert.Zero(t, m)
	assert.Empty(t, m.Bytes())
	assert.Equal(t, hash(nil), m.Digest())
	_, found := m.Lookup("a")
	assert.False(t, found)
}

// The digest names trees on servers: it must not change between versions.
func TestDigestIsStable(t *testing.T) {
	t.Parallel()
	m, err := ParseManifest(strings.NewReader("f "+hash([]byte("x"))+" a\nl "+hash([]byte("a"))+" b/c\n"), Limits{})
	require.NoError(t, err)
	assert.Equal(t, "2ab8a0d504e56b19207e12468234253745eed14bfa32c927e88b6e0287ed6135", m.Digest())
}

func TestParseManifestRefuses(t *testing.T) {
	t.Parallel()
	h := strings.Repeat("a", 64)
	line := func(path string) string { return "f " + h + " " + path + "\n" }
	for name, c := range map[string]struct{ text, reason string }{
		"no end":           {"f " + h + " a", "cut off"},
		"blank line":       {line("a") + "\n", "not of the form"},
		"no path":          {"f " + h + " \n", "not of the form"},
		"short hash":       {"f " + h[1:] + " a\n", "not of the form"},
		"two blanks":       {"f  " + h + " a\n", "not of the form"},
		"upper-case hash":  {"f " + strings.ToUpper(h) + " a\n", "not a hash"},
		"unknown type":     {"d " + h + " a\n", `the type 'd'`},
		"not sorted":       {line("b") + line("a"), "not sorted"},
		"sorted by locale": {line("a") + line("B"), "not sorted"},
		"twice":            {line("a") + line("a"), "twice"},
		"absolute":         {line("/a"), "absolute"},
		"parent":           {line("a/../../b"), "not a clean path"},
		"only a parent":    {line(".."), "not a clean path"},
		"dot":              {line("./a"), "not a clean path"},
		"trailing slash":   {line("a/"), "not a clean path"},
		"double slash":     {line("a//b"), "not a clean path"},
		"backslash":        {line(`a\nb`), "backslash"},
		"escape sequence":  {line("a\x1b[2J"), "control character"},
		"carriage return":  {line("a\r"), "control character"},
		"NUL":              {line("a\x00b"), "control character"},
		"not UTF-8":        {line("a\xff"), "not UTF-8"},
		"long name":        {line(strings.Repeat("a", 256)), "longer than 255"},
		"long path":        {line(strings.Repeat("a/", 600) + "a"), "longer than 1024"},
		"file and folder":  {line("a") + line("a-b") + line("a/b"), "a file and a folder"},
		"too many lines":   {line("a") + line("b") + line("c") + line("d"), "more than 3 lines"},
		"too long a text":  {line(strings.Repeat("a/", 500) + "a"), "longer than 1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := Limits{Entries: 3}
			if strings.HasPrefix(name, "too long") {
				limits.Bytes = 1000
			}
			_, err := ParseManifest(strings.NewReader(c.text), limits)
			var e *ManifestError
			require.ErrorAs(t, err, &e)
			assert.Contains(t, e.Error(), c.reason)
			assert.NotContains(t, e.Error(), "\x1b")
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("link cut") }

func TestParseManifestPassesReadErrorsOn(t *testing.T) {
	t.Parallel()
	_, err := ParseManifest(brokenReader{}, Limits{})
	assert.ErrorContains(t, err, "link cut")
}

// What is accepted reads back as the same bytes, so nothing in it was
// overlooked, and no path in it leaves the folder that it is used in.
func FuzzParseManifest(f *testing.F) {
	h := strings.Repeat("0", 64)
	f.Add("")
	f.Add("f " + h + " a\nx " + h + " b c/d\nl " + h + " ü\n")
	f.Add("f " + h + " ../a\n")
	f.Add("f " + h + " a\nf " + h + " a/b\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseManifest(strings.NewReader(text), Limits{Bytes: 1 << 16, Entries: 100})
		if err != nil {
			return
		}
		if got := string(m.Bytes()); got != text {
			t.Fatalf("accepted %q, reads back as %q", text, got)
		}
		for _, e := range m.Entries() {
			if strings.HasPrefix(e.Path, "/") || strings.Contains("/"+e.Path+"/", "/../") {
				t.Fatalf("accepted the path %q", e.Path)
			}
			if found, ok := m.Lookup(e.Path); !ok || found != e {
				t.Fatalf("%q is not found", e.Path)
			}
		}
	})
}
