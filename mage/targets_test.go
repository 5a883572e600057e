package mage_test

import (
	"slices"
	"testing"

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
	slices.Sort(names)
	assert.Equal(t, []string{
		"Bootstrap",
		"Check",
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
		"Secrets:Rotate",
		"Secrets:Set",
		"Status",
		"Update",
	}, names)
}
