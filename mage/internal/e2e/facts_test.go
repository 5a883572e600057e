package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The port moves by the configuration alone: vps.yaml has the old one all the time, and
// the confirmation, and the next run, find the new one.
func TestUpdateFollowsThePortOfTheConfiguration(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	before := l.files.Read("vps.yaml")

	l.files.Set("sshPort", 4444)
	r := l.mustUpdate()

	assert.Equal(t, "updated", r.Result)
	l.assertDeployed(s)
	assert.Equal(t, before, l.files.Read("vps.yaml"))
	client, err := login(s, 4444)
	require.NoError(t, err)
	_ = client.Close()
	again := openLaptop(t, l.files)
	assert.Equal(t, "nothing to do", again.mustUpdate().Result)
	again.files.Set("sshPort", 2222)
	again.mustUpdate()
	again.assertDeployed(s)
}

// A repository whose flake is at its root is deployed as it is: nothing is moved, and
// what vps keeps there stays on the laptop.
func TestUpdateOfARootLevelFlake(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	files := s.Project()
	entries, err := os.ReadDir(filepath.Join(files.Dir, "nix"))
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Rename(filepath.Join(files.Dir, "nix", e.Name()), filepath.Join(files.Dir, e.Name())))
	}
	files.Remove("nix")
	files.Write("vps.yaml", "nix: .\n"+files.Read("vps.yaml"))
	files.Write("tool/main.go", "package main\n\nfunc main() {}\n")
	l := openLaptop(t, files)

	r := l.mustUpdate()
	assert.Equal(t, "updated", r.Result)
	assert.Equal(t, files.Read("flake.nix"), s.Read("/etc/nixos/flake.nix")+"\n")
	assert.Equal(t, files.Read("tool/main.go"), s.Read("/etc/nixos/tool/main.go")+"\n", "a program that the flake packages")
	assert.Empty(t, s.Exec("cd /etc/nixos && find . -name vps.yaml -o -name .vps -o -name 'age-key*'"), "stay on the laptop")

	files.Write("settings.json", replaceOne(t, files.Read("settings.json"), `"note": ""`, `"note": "changed"`))
	assert.Equal(t, "updated", l.mustUpdate().Result)
	assert.Equal(t, "nothing to do", l.mustUpdate().Result)
	l.rebooted(s)
}
