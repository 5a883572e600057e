package mage_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage"
	"github.com/dagadbm/vps/mage/internal/cmdline"
	"github.com/magefile/mage/parse"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mage makes a target of every exported function whose parameters it
// understands, also of one that was only meant as a helper.
func TestTargetsAreTheseAndNoOthers(t *testing.T) {
	t.Parallel()
	info, err := parse.PrimaryPackage("go", ".", sources(t), false)
	require.NoError(t, err)
	var names []string
	for _, f := range info.Funcs {
		names = append(names, f.TargetName())
		assert.NotEmpty(t, f.Synopsis, "%s has no help", f.TargetName())
		for _, a := range f.OptionalArgs() {
			assert.NotEmpty(t, a.Comment, "-%s of %s has no help", a.Name, f.TargetName())
		}
	}
	// The command line is read by the same declarations.
	read, err := cmdline.FromSource(os.DirFS("."))
	require.NoError(t, err)
	embedded, err := cmdline.FromSource(mage.Declarations)
	require.NoError(t, err)
	assert.Equal(t, read, embedded, "start.go embeds every file with targets")
	for _, f := range info.Funcs {
		i := slices.IndexFunc(read, func(target cmdline.Target) bool { return strings.EqualFold(target.Name, f.TargetName()) })
		if assert.GreaterOrEqual(t, i, 0, f.TargetName()) {
			assert.Len(t, read[i].Words, f.NumRequiredArgs(), f.TargetName())
			for n, a := range f.OptionalArgs() {
				assert.Equal(t, cmdline.Flag{Name: a.Name, Type: a.Type, Doc: a.Comment}, read[i].Flags[n])
			}
		}
	}
	assert.Len(t, read, len(info.Funcs))
	slices.Sort(names)
	assert.Equal(t, []string{
		"Bootstrap",
		"Check",
		"Completion",
		"Demo",
		"Diff",
		"Generations",
		"Init",
		"Lock",
		"Rollback",
		"Secrets:Check",
		"Secrets:Edit",
		"Secrets:Get",
		"Secrets:Init",
		"Secrets:List",
		"Secrets:Revoke",
		"Secrets:Rotate",
		"Secrets:Set",
		"Status",
		"Update",
	}, names)
}
