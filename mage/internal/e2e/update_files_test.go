package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// One server's life: every kind of change to a tree, one after the other, and a
// restart in the end to see what was kept.
func TestUpdateOfFiles(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	nix := func(name string) string { return filepath.Join(l.Dir, "nix", name) }
	first := s.Current()

	r := l.mustUpdate()
	assert.Equal(t, deploy.OutcomeUpdated, r.Outcome)
	assert.Equal(t, []int{1, 1}, []int{r.Before, r.After},
		"the same system: nix-env makes no second generation of it")
	assert.Equal(t, first, l.assertDeployed(s).Current)

	runs := s.Exec("ls /var/lib/vps/runs")
	r = l.mustUpdate()
	assert.Equal(t, deploy.OutcomeNothing, r.Outcome)
	assert.Equal(t, runs, s.Exec("ls /var/lib/vps/runs"), "no run was started")

	l.files.Set("note", "one file changed")
	r = l.mustUpdate()
	assert.Equal(t, deploy.OutcomeUpdated, r.Outcome)
	assert.Equal(t, 2, r.After)
	second := l.assertDeployed(s)
	assert.NotEqual(t, first, second.Current)
	assert.Equal(t, "system-2-link", second.Generation)

	l.files.Remove("nix/units/hello.service")
	require.NoError(t, os.Rename(nix("system/toy-upgrade"), nix("system/renamed")))
	text, err := os.ReadFile(nix("system/default.nix"))
	require.NoError(t, err)
	l.files.Write("nix/system/default.nix", replaceOne(t, string(text), "./toy-upgrade", "./renamed"))
	l.files.Write("nix/a folder/with spaces & more.sh", "#!/bin/sh\n")
	require.NoError(t, os.Chmod(nix("a folder/with spaces & more.sh"), 0o755))
	require.NoError(t, os.Symlink("a folder/with spaces & more.sh", nix("link")))
	l.mustUpdate()
	l.assertDeployed(s)
	assert.Equal(t, "inactive", s.Unit("hello.service"), "a unit that is gone was stopped")

	require.NoError(t, os.Chmod(nix("a folder/with spaces & more.sh"), 0o644))
	l.files.Remove("nix/link")
	l.files.Write("nix/link", "a file now")
	l.mustUpdate()
	l.assertDeployed(s)
	l.rebooted(s)
}

func replaceOne(t *testing.T, text, old, with string) string {
	t.Helper()
	require.Equal(t, 1, strings.Count(text, old), "%s occurs once", old)
	return strings.Replace(text, old, with, 1)
}
