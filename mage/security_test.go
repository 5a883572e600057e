package mage_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A threat model that names a test which is gone promises what nobody holds.
func TestSecurityNamesOnlyTestsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../SECURITY.md")
	require.NoError(t, err)
	named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1)
	require.Greater(t, len(named), 20)
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		all.Write(data)
		return err
	}))
	for _, name := range named {
		assert.Contains(t, all.String(), "func "+name+"(t *testing.T)", name)
	}
}
