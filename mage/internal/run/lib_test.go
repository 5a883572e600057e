package run

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// library runs a line of shell after lib.sh, as if ROOT were the folder root.
func library(t *testing.T, root, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", libScript+"\n"+line)
	cmd.Env = append(cmd.Environ(), "VPS_ROOT="+root)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A server without /nix or /boot kept a shell spinning for ever: the parent of
// "/nix" was the empty string, whose parent was itself.
func TestExistingEndsAtTheRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		"/no-such-folder":           "/",
		"/no-such-folder/store/a":   "/",
		"no-such-folder":            "/",
		"":                          "/",
		"/":                         "/",
		dir:                         dir,
		filepath.Join(dir, "a/b/c"): dir,
	} {
		out, err := library(t, "", `existing '`+path+`'; printf %s "$existing"`)
		assert.NoError(t, err, path)
		assert.Equal(t, want, out, path)
	}
}

// A part that is embedded but not listed would be missing on the server, and a
// part that grows is about more than one thing.
func TestSupervisorIsMadeOfAllItsParts(t *testing.T) {
	t.Parallel()
	entries, err := supervisorFiles.ReadDir("scripts/supervisor")
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".sh"))
	}
	assert.ElementsMatch(t, supervisorParts, names)
	for _, part := range supervisorParts {
		text, err := supervisorFiles.ReadFile("scripts/supervisor/" + part + ".sh")
		require.NoError(t, err)
		assert.Less(t, bytes.Count(text, []byte("\n")), 250, part)
		assert.Contains(t, string(Supervisor()), string(text))
	}
	check := exec.CommandContext(t.Context(), "/bin/sh", "-n")
	check.Stdin = bytes.NewReader(Supervisor())
	out, err := check.CombinedOutput()
	assert.NoError(t, err, "%s", out)
}
