package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProjectIsEncryptedToTheServersKey(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	p := s.Project()
	text, err := os.ReadFile(filepath.Join(p.Dir, "secrets", "secrets.yaml"))
	require.NoError(t, err)
	assert.NotContains(t, string(text), "a token")

	sops := exec.Command("sops", "decrypt", "secrets/secrets.yaml")
	sops.Dir = p.Dir
	sops.Env = append(os.Environ(), "SOPS_AGE_KEY="+s.Read("/var/lib/sops-nix/key.txt"))
	out, err := sops.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "gateway-token: a token")
}
