package facts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const nixTrace = `warning: Git tree '/work' is dirty
error:
       … while evaluating the attribute 'config.system.build.toplevel'
         at /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-source/lib/modules.nix:322:9:
          321|         options = checked options;
          322|         config = checked (removeAttrs config [ "_module" ]);
             |         ^

       … while evaluating definitions from ` + "`/nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-source/modules/system.nix'" + `:

`

func TestNixErrorKeepsTheLinesThatMatter(t *testing.T) {
	t.Parallel()
	ours := func(path string) string {
		if path == "modules/system.nix" || path == "flake.nix" {
			return "nix/" + path
		}
		return ""
	}
	for _, c := range []struct{ name, said, text, place string }{
		{"a typing error", nixTrace + "       \x1b[31;1merror:\x1b[0m undefined variable 'pkg'\n       at /nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-source/modules/system.nix:12:30:\n           11|\n           12| x\n",
			"undefined variable 'pkg'", "nix/modules/system.nix:12:30"},
		{"an assertion", nixTrace + "       error:\n       Failed assertions:\n       - A host needs a name.\n       - Two things at once.\n",
			"Failed assertions: - A host needs a name. - Two things at once.", ""},
		{"the place is in the trace only", "error:\n       … while calling\n         at /nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-source/flake.nix:7:3:\n\n       error: cannot coerce a set to a string\n       at /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-source/lib/strings.nix:1:2:\n",
			"cannot coerce a set to a string", "nix/flake.nix:7:3"},
		{"no network", "error:\n       … while fetching the input 'github:a/b'\n\n       error: unable to download 'https://x': Couldn't resolve host name (6)\n",
			"unable to download 'https://x': Couldn't resolve host name (6)", ""},
		{"silence", "", "it ended with exit code 1", ""},
		{"long", "error: " + strings.Repeat("x", 5000), strings.Repeat("x", maxNixText) + "…", ""},
	} {
		e := newNixError("flake", 1, c.said, ours)
		assert.Equal(t, c.text, e.Text, c.name)
		assert.Equal(t, c.place, e.Place, c.name)
		assert.NotEmpty(t, e.NextStep().String())
	}
	assert.Contains(t, newNixError("eval", 137, nixTrace, ours).Error(), "not enough memory")
}

func FuzzNixError(f *testing.F) {
	for _, seed := range []string{"", "error:", nixTrace, "error: a\nat /work/flake.nix:1:1:\n", "error:\nerror:\n", "\x1b[31merror: \xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		e := newNixError("eval", 1, said, func(path string) string { return path })
		assert.NotEmpty(t, e.Text)
		assert.NotContains(t, e.Error(), "\n")
		assert.LessOrEqual(t, len(e.Text), maxNixText+len("…"))
	})
}
