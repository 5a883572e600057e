package mage_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/magefile/mage/parse"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readme(t *testing.T) string {
	t.Helper()
	return document(t, "README.md")
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	require.NoError(t, err)
	return string(text)
}

// documentNames are the README and the pages that it leads to.
func documentNames(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md"}
	for _, pattern := range []string{"../docs/*.md", "../docs/decisions/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range found {
			names = append(names, strings.TrimPrefix(name, "../"))
		}
	}
	require.Greater(t, len(names), 10)
	return names
}

func documents(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, name := range documentNames(t) {
		b.WriteString(document(t, name))
	}
	return b.String()
}

// A newcomer reads it whole, or not at all.
func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	assert.LessOrEqual(t, strings.Count(readme(t), "\n"), 250)
}

// command is a target as the README calls it.
var command = regexp.MustCompile("(?m)(?:^|[|`] ?|go tool |\\$ )mage +([a-z][a-zA-Z0-9:]*)((?: +(?:-[a-z]+=?[^ `\n#|]*|[^ -`\n#|]+))*)")

// ofThisRepository are targets that only its own developers need.
var ofThisRepository = []string{"e2e", "lint", "bench", "test", "picture"}

// A README that names what does not exist is worse than none.
func TestReadmeNamesOnlyTargetsAndFlagsThatExist(t *testing.T) {
	t.Parallel()
	info, err := parse.PrimaryPackage("go", ".", sources(t), false)
	require.NoError(t, err)
	flags := map[string][]string{}
	for _, f := range info.Funcs {
		name := strings.ToLower(f.TargetName())
		flags[name] = []string{}
		for _, a := range f.OptionalArgs() {
			flags[name] = append(flags[name], strings.ToLower(a.Name))
		}
	}
	found := command.FindAllStringSubmatch(documents(t), -1)
	require.Greater(t, len(found), 20, "the README's commands are found")
	for _, m := range found {
		target := strings.ToLower(m[1])
		if slices.Contains(ofThisRepository, target) {
			continue
		}
		known, ok := flags[target]
		if !assert.True(t, ok, "README: %q is no target", strings.TrimSpace(m[0])) {
			continue
		}
		for _, word := range strings.Fields(m[2]) {
			if flag, is := strings.CutPrefix(word, "-"); is {
				flag, _, _ = strings.Cut(flag, "=")
				assert.Contains(t, known, flag, "README: %q", strings.TrimSpace(m[0]))
			}
		}
	}
}

// The messages under Troubleshooting are those that the code has.
func TestReadmeTroubleshootsMessagesThatExist(t *testing.T) {
	t.Parallel()
	code := sourceText(t)
	table := document(t, "docs/troubleshooting.md")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1)
	require.GreaterOrEqual(t, len(rows), 20)
	for _, row := range rows {
		for _, part := range strings.Split(row[1], "…") {
			part = strings.Trim(part, ` "',:`)
			if len(part) < 3 || part == "connection refused" { // the system's own words
				continue
			}
			assert.Contains(t, code, part, "README: %q", row[1])
		}
	}
}

// sourceText is the text of this module's programs, with verbs for values as …
// and the names of files filled in.
func sourceText(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if ext := filepath.Ext(path); ext == ".go" || ext == ".sh" {
			text, err := os.ReadFile(path)
			b.Write(text)
			return err
		}
		return nil
	}))
	return strings.NewReplacer("not in %s,", "not in vps.yaml,", "file is called %s,", "file is called vps.yaml,").Replace(b.String())
}

// The table of exit codes says what the manual says.
func TestReadmeHasTheManualsExitCodes(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	codes := regexp.MustCompile(`(?m)^//\t([0-7])  `).FindAllStringSubmatch(string(manual), -1)
	require.Len(t, codes, 8)
	for _, c := range codes {
		assert.Regexp(t, `(?m)^\| `+c[1]+` \| `, readme(t))
	}
}

// Files that the README links to are there.
func TestReadmeLinksToWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, name := range documentNames(t) {
		links := regexp.MustCompile(`\]\(([^)h#<][^)]*)\)`).FindAllStringSubmatch(document(t, name), -1)
		for _, l := range links {
			_, err := os.Stat(filepath.Join("..", filepath.Dir(name), l[1]))
			assert.NoError(t, err, name)
		}
	}
}
