package faults

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNeedlesAreFoundInEveryForm(t *testing.T) {
	t.Parallel()
	n := Needles{}
	n.Add("token", "a secret of some length\n")
	assert.Equal(t, []string{"token"}, n.In([]byte("x a secret of some length x")))
	for before := range 4 {
		text := base64.StdEncoding.EncodeToString([]byte("xyz!"[:before] + "a secret of some length and more"))
		assert.NotEmpty(t, n.In([]byte(text)), "%d bytes before it: %s", before, text)
	}
	assert.Empty(t, n.In([]byte("a secret of another length")))
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a secret of some length"), 0o600))
	assert.Len(t, n.InFiles(dir, nil), 1)
	assert.Empty(t, n.InFiles(dir, func(path string) bool { return path == "a" }))
}

// What it would find is found: a watch that finds nothing must mean something.
func TestWatchSeesArgumentsAndEnvironment(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("needs /proc")
	}
	n := Needles{}
	n.Add("argument", "an argument of "+t.TempDir())
	n.Add("variable", "a variable of "+t.TempDir())
	cmd := exec.Command("/bin/sh", "-c", "read line", string(n["argument"]))
	cmd.Env = []string{"X=" + string(n["variable"])}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	found := Start(n, t.TempDir()).Stop()
	require.NoError(t, in.Close())
	_ = cmd.Wait() // read met the end of its input
	assert.Len(t, found, 2, "%q", found)
}
