package mage

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPathsOfFlagsMayBeginWithATilde(t *testing.T) {
	t.Setenv("HOME", "/home/ada")
	for flag, want := range map[string]string{
		"~/.ssh/id.pub": "/home/ada/.ssh/id.pub", "id.pub": "id.pub", "/a": "/a", "a~/b": "a~/b", "": "",
	} {
		assert.Equal(t, want, path(&flag))
	}
	assert.Empty(t, path(nil))
}
