package secrets

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// needProgram finds a real program. Where the end-to-end tests run, a missing
// one is a failure and not a reason to skip.
func needProgram(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join(goBin(), name)
		_, err = os.Stat(path)
	}
	if err != nil {
		missing(t, "the program %s is not installed: %s", name, install)
	}
	return path
}

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("VPS_E2E") == "1" {
		require.FailNowf(t, "a part that this test needs is missing", format, args...)
	}
	t.Skipf(format, args...)
}

func goBin() string {
	for _, name := range []string{"GOBIN", "GOPATH"} {
		out, err := exec.Command("go", "env", name).Output()
		if dir := strings.TrimSpace(string(out)); err == nil && dir != "" {
			if name == "GOPATH" {
				dir = filepath.Join(dir, "bin")
			}
			return dir
		}
	}
	return ""
}

// realSops runs the sops program in a project, with its key and nothing else.
type realSops struct {
	t       *testing.T
	program string
	project Project
}

func newRealSops(t *testing.T, project Project) *realSops {
	t.Helper()
	return &realSops{t, needProgram(t, "sops", "go install github.com/getsops/sops/v3/cmd/sops@v"+formatVersion), project}
}

func (r *realSops) command(editor string, args ...string) *exec.Cmd {
	cmd := exec.Command(r.program, args...)
	cmd.Dir = r.project.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.t.TempDir(), "SOPS_AGE_KEY_FILE=" + r.project.KeyFile(), "EDITOR=" + editor}
	return cmd
}

func (r *realSops) run(args ...string) string {
	r.t.Helper()
	out, err := r.command("false", args...).Output()
	require.NoError(r.t, err, "sops %v: %v", args, stderrOf(err))
	return string(out)
}

func stderrOf(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return string(exit.Stderr)
	}
	return ""
}

// everything is every kind of value, comment and nesting that sops keeps.
const everything = `# at the top
# of two lines
gateway-token: abc
text: plain
empty: ""
spaces: '  around  '
number-like: "007"
true-like: "true"
colon: 'a: b'
unicode: "ünïcödé \U0001F511 漢字"
backslash: C:\path\n
quote: it's "quoted"
multi: |
    first
      indented

    last
multi-no-end: |-
    first
    last
folded-to-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccccccccccccccc dddddddddddddd
integer: 42
negative: -7
float: 3.25
"yes": yes-key
bool: true
"off": false
nothing: null
time: 2024-05-06T07:08:09Z
map:
    # in a map
    inner: one
    deeper:
        innermost: two # beside
    list:
        - a
        # in a list
        - b
        - x: 1
          "y": 2
        - - nested
          - list
open_unencrypted: visible
# before the end
last: z
`

func TestSopsReadsWhatWeWrite(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	project := newProject(t, ids, everything)
	sops := newRealSops(t, project)
	assert.Equal(t, withoutInline(everything), sops.run("-d", "secrets/secrets.yaml"))

	_, err := Set(t.Context(), project.Dir, ids, "map.deeper.innermost", "set by us")
	require.NoError(t, err)
	assert.Equal(t, "set by us", sops.run("-d", "--extract", `["map"]["deeper"]["innermost"]`, "secrets/secrets.yaml"))
	assert.Equal(t, withoutInline(strings.Replace(everything, "innermost: two", "innermost: set by us", 1)), sops.run("-d", "secrets/secrets.yaml"))
}

func TestSopsEditsWhatWeWroteAndWeReadItAgain(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, everything)
	sops := newRealSops(t, project)
	out, err := sops.command(`sed -i.bak "s/gateway-token: abc/gateway-token: by sops/"`, "secrets/secrets.yaml").CombinedOutput()
	require.NoError(t, err, "%s", out)
	value, err := Get(project.Dir, ids, "gateway-token")
	require.NoError(t, err)
	assert.Equal(t, "by sops", value)

	sops.run("set", "secrets/secrets.yaml", `["map"]["new"]`, `"added"`)
	sops.run("rotate", "-i", "secrets/secrets.yaml")
	value, err = Get(project.Dir, ids, "map.new")
	require.NoError(t, err)
	assert.Equal(t, "added", value)
	_, err = Verify(t.Context(), project.Dir, ids)
	require.NoError(t, err)
}

func TestWeEditWhatSopsWrote(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{
		"by default":         "",
		"unencrypted_suffix": "    unencrypted_suffix: _open\n",
		"encrypted_suffix":   "    encrypted_suffix: deeper\n",
		"encrypted_regex":    "    encrypted_regex: ^(gateway-token|deeper|multi)$\n",
		"unencrypted_regex":  "    unencrypted_regex: ^(integer|list)$\n",
		"encrypted comments": "    encrypted_comment_regex: in a map\n",
		"only the encrypted": "    mac_only_encrypted: true\n",
		"indented by two":    "stores:\n  yaml:\n    indent: 2\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids := newIdentities(t, 1)
			project := emptyProject(t, ids, extra)
			sops := newRealSops(t, project)
			writeText(t, project.SecretsFile(), everything)
			sops.run("-e", "-i", "secrets/secrets.yaml")
			before := sops.run("-d", "secrets/secrets.yaml")
			sealed := string(readAll(t, project.SecretsFile()))

			console := &fakeConsole{}
			changed, err := Edit(t.Context(), project.Dir, ids, EditOptions{
				Console: console, bases: []string{t.TempDir()}, Stdin: strings.NewReader(""), Stdout: os.Stderr, Stderr: os.Stderr,
				Getenv: func(string) string { return `sed -i.bak "s/innermost: two/innermost: 2nd/"` },
			})
			require.NoError(t, err)
			require.True(t, changed)
			after := sops.run("-d", "secrets/secrets.yaml")
			assert.Equal(t, withoutInline(strings.Replace(before, "innermost: two", "innermost: 2nd", 1)), withoutInline(after), "comments, order and types")
			for _, line := range changedLines(sealed, string(readAll(t, project.SecretsFile()))) {
				assert.Regexp(t, `^ +(innermost|lastmodified|mac): `, line, "only what changed differs in git")
			}
		})
	}
}

// withoutInline puts comments beside a value above it: that is where sops
// itself moves those that it decrypts, and where we do not.
func withoutInline(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		body, comment, found := strings.Cut(line, " # beside")
		if found {
			line = strings.Repeat(" ", len(body)-len(strings.TrimLeft(body, " "))) + "# beside" + comment + body + "\n"
			line = strings.Replace(line, "\n\n", "\n", 1)
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestAMegabyteBetweenSopsAndUs(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := emptyProject(t, ids, "")
	sops := newRealSops(t, project)
	value := strings.Repeat("0123456789abcdef", 1<<16)
	writeText(t, project.SecretsFile(), "big: "+value+"\n")
	sops.run("-e", "-i", "secrets/secrets.yaml")
	got, err := Get(project.Dir, ids, "big")
	require.NoError(t, err)
	assert.Equal(t, value, got)
	_, err = Set(t.Context(), project.Dir, ids, "big", value+"more")
	require.NoError(t, err)
	assert.Equal(t, value+"more", sops.run("-d", "--extract", `["big"]`, "secrets/secrets.yaml"))
}

func TestAgeKeygensKeysAndOurs(t *testing.T) {
	t.Parallel()
	keygen := needProgram(t, "age-keygen", "apt-get install age")
	project := emptyProject(t, newIdentities(t, 1), "")
	require.NoError(t, os.Remove(project.KeyFile()))
	out, err := exec.Command(keygen, "-o", project.KeyFile()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	theirs := mustLoad(t, project)
	assert.Contains(t, string(out), theirs.Recipients()[0])

	mine := Project{Dir: t.TempDir()}
	options, _ := initOptions(t)
	options.Console = &fakeConsole{absent: true}
	_, err = Init(t.Context(), mine.Dir, options)
	require.NoError(t, err)
	out, err = exec.Command(keygen, "-y", mine.KeyFile()).Output()
	require.NoError(t, err)
	assert.Equal(t, mustLoad(t, mine).Recipients()[0], strings.TrimSpace(string(out)))
}

// TestSopsDecryptsAfterEachOfOurs goes through a life of a file, and after each
// step the real program has to agree.
func TestSopsDecryptsAfterEachOfOurs(t *testing.T) {
	t.Parallel()
	project := cloneOfThis(t)
	sops := newRealSops(t, project)
	options, _ := initOptions(t, "y")
	_, err := Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	assert.Contains(t, sops.run("-d", "secrets/secrets.yaml"), aPublicKey)
	_, err = Set(t.Context(), project.Dir, mustLoad(t, project), "extra", "one")
	require.NoError(t, err)
	assert.Contains(t, sops.run("-d", "secrets/secrets.yaml"), "extra: one\n")
	require.NoError(t, Rotate(t.Context(), project.Dir, RotateOptions{Console: &fakeConsole{}, Getenv: noEnvironment}))
	assert.Contains(t, sops.run("-d", "secrets/secrets.yaml"), "extra: one\n")
}
