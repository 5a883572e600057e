package run

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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
