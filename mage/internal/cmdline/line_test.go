package cmdline_test

import (
	"os"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/cmdline"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reader knows the real targets, imported under a prefix beside somebody's own.
func reader(t testing.TB, prefix string) *cmdline.Reader {
	t.Helper()
	targets, err := cmdline.FromSource(os.DirFS("../.."))
	require.NoError(t, err)
	return &cmdline.Reader{Targets: targets, Listed: func() []string {
		list := []string{"release"}
		for _, target := range targets {
			list = append(list, prefix+target.Name)
		}
		if prefix != "" {
			list = append(list, "check", "db:update")
		}
		return list
	}}
}

func TestLinesAreWrittenAsMageWantsThem(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"update web-1":                         "update web-1",
		"update web-1 web-2":                   "update web-1,web-2",
		"update web-1,web-2 @prod -force":      "update web-1,web-2,@prod -force",
		"update -force web-1":                  "update web-1 -force",
		"update web-1 -confirm 90s":            "update web-1 -confirm=90s",
		"update web-1 --confirm=60":            "update web-1 -confirm=60s",
		"update -parallel 3 -force web-1 web":  "update web-1,web -parallel=3 -force",
		"update web-1 status web-1":            "update web-1 status web-1",
		"update web-1 web-2 status":            "update web-1,web-2 status all",
		"status":                               "status all",
		"status -json":                         "status all -json",
		"diff":                                 "diff all",
		"status check":                         "status all check",
		"check web-1 web-2":                    "check -host=web-1,web-2",
		"-v update web-1 web-2":                "-v update web-1,web-2",
		"-t 5m update -force web-1":            "-t 5m update web-1 -force",
		"update web-1 release now":             "update web-1 release now",
		"update web-1 web-2 release now":       "update web-1,web-2 release now",
		"release web-1 web-2":                  "release web-1 web-2",
		"Update web-1 -Force web-2":            "Update web-1,web-2 -force",
		"secrets:set name -from=a":             "secrets:set name -from=a",
		"secrets:set -from a name":             "secrets:set name -from=a",
		"rollback web-1 -to 3":                 "rollback web-1 -to=3",
		"":                                     "",
		"-l":                                   "-l",
		"help":                                 "-l",
		"-w x":                                 "-w x",
		"bootstrap web -hostkey=SHA256:a/b+c=": "bootstrap web -hostkey=SHA256:a/b+c=",
	} {
		line, err := reader(t, "").Read(strings.Fields(typed))
		require.NoError(t, err, typed)
		assert.Equal(t, strings.Fields(want), line.Args, typed)
		if typed == "" || strings.HasPrefix(typed, "-l") {
			continue
		}
		// The same under a name. What is somebody else's stays.
		aliased := func(text string) []string {
			words := strings.Fields(text)
			for i, w := range words {
				switch w {
				case "update", "status", "diff", "check", "rollback", "bootstrap", "secrets:set", "Update":
					words[i] = "vps:" + w
				}
			}
			return words
		}
		line, err = reader(t, "vps:").Read(aliased(typed))
		require.NoError(t, err, typed)
		assert.Equal(t, aliased(want), line.Args, "vps: "+typed)
	}
}

func TestWrongLinesRunNothing(t *testing.T) {
	t.Parallel()
	for typed, says := range map[string]string{
		"update":                        "update needs HOSTS",
		"rollback web-1 web-2":          `rollback takes HOST, and "web-2" is neither`,
		"update web-1 -forse":           "did you mean -force?",
		"update web-1 -xyzzy":           "it has -action",
		"update web-1 -confirm=soon":    "-confirm=90s",
		"update web-1 -parallel=many":   "must be a number, as in -parallel=8",
		"update web-1 -confirm":         "needs a value, as in -confirm=90s",
		"update web-1 -settle -force":   "-settle needs a value",
		"udpate web-1":                  `did you mean "update"?`,
		"secret:edit":                   `did you mean "secrets:edit"?`,
		"status all rollback web-1 now": `"now" is neither`,
		"lock nixpkgs":                  "lock takes no words",
		"demo -x":                       "nor any other",
	} {
		_, err := reader(t, "").Read(strings.Fields(typed))
		if assert.Error(t, err, typed) {
			assert.Contains(t, err.Error(), says, typed)
		}
	}
	_, err := reader(t, "vps:").Read([]string{"status"})
	assert.ErrorContains(t, err, `did you mean "vps:status"?`)
}

// A secret that was typed by mistake is not repeated, where a screen is shared or
// a log is kept.
func TestAValueIsNotEchoed(t *testing.T) {
	t.Parallel()
	_, err := reader(t, "").Read([]string{"secrets:set", "gateway-token", "correct-horse"})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "correct-horse")
	assert.Contains(t, err.Error(), "stdin")
}

func TestHelpWhereItIsLookedFor(t *testing.T) {
	t.Parallel()
	for _, typed := range []string{"help update", "update --help", "update -h", "update web-1 -help", "--help update", "-h update"} {
		line, err := reader(t, "").Read(strings.Fields(typed))
		require.NoError(t, err, typed)
		if assert.NotNil(t, line.Help, typed) {
			assert.Equal(t, "update", line.Help.Name)
		}
	}
	line, err := reader(t, "vps:").Read([]string{"vps:secrets:check", "--help"})
	require.NoError(t, err)
	if assert.NotNil(t, line.Help) {
		assert.Equal(t, "secrets:check", line.Help.Name, "not check, imported as vps:secrets")
	}
	for _, typed := range []string{"--version", "-version", "version"} {
		line, err := reader(t, "").Read([]string{typed})
		require.NoError(t, err)
		assert.True(t, line.Version, typed)
	}
}

// Targets of the same names that are somebody else's are left to mage, wrong or
// not: only the list of the program says whose they are.
func TestForeignTargetsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	r := reader(t, "vps:")
	for _, typed := range []string{"check a b c", "check -x", "db:update a b", "release --help", "unheard-of x y"} {
		line, err := r.Read(strings.Fields(typed))
		require.NoError(t, err, typed)
		assert.Equal(t, strings.Fields(typed), line.Args, typed)
		assert.Nil(t, line.Help)
	}
	r.Listed = func() []string { t.Error("a line that mage reads as it is meant costs no start"); return nil }
	_, err := r.Read([]string{"vps:update", "web-1", "-force"})
	require.NoError(t, err)
}

func FuzzRead(f *testing.F) {
	f.Add("update web-1 -force web-2", "vps:")
	f.Add("-t\x00help secrets:set a b", "")
	r := map[string]*cmdline.Reader{"": reader(f, ""), "vps:": reader(f, "vps:")}
	f.Fuzz(func(t *testing.T, typed, prefix string) {
		if r[prefix] == nil {
			return
		}
		words := strings.Fields(typed)
		line, err := r[prefix].Read(words)
		if err != nil || line.Help != nil || line.Version {
			return
		}
		again, err := r[prefix].Read(line.Args)
		require.NoError(t, err)
		assert.Equal(t, line.Args, again.Args, "what was written is read the same way")
	})
}
