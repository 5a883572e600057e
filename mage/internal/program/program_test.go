package program_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Many who write and start programs at once: none is found busy.
func TestWrittenProgramsStartAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 25 {
				path := filepath.Join(dir, fmt.Sprintf("%d.%d", worker, i))
				if assert.NoError(t, program.Write(path, "#!/bin/sh\nexit 0\n")) {
					assert.NoError(t, exec.Command(path).Run())
				}
			}
		})
	}
	all.Wait()
}

func TestWriteDoesNotFollowALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other, link := filepath.Join(dir, "other"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(other, []byte("not mine"), 0o600))
	require.NoError(t, os.Symlink(other, link))

	require.NoError(t, program.Write(link, "#!/bin/sh\n"))

	text, err := os.ReadFile(other)
	require.NoError(t, err)
	assert.Equal(t, "not mine", string(text))
	require.NoError(t, exec.Command(link).Run())
}
