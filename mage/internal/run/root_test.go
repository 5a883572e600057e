package run

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestShellsThatBecomeRoot(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "root"} {
		assert.Equal(t, "/bin/sh -s", ShellOf(user).Line())
		_, more := ShellOf(user).Other()
		assert.False(t, more, "root needs nobody")
	}
	var lines []string
	for s, more := ShellOf("admin"), true; more; s, more = s.Other() {
		lines = append(lines, s.Line())
	}
	assert.Equal(t, []string{"sudo -n /bin/sh -s", "doas -n /bin/sh -s", "run0 --no-ask-password /bin/sh -s"}, lines)
}
