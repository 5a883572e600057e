package git

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// signingKey makes a real SSH key, and its line for a list of allowed signers.
func signingKey(t *testing.T, who string) (file, line string) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	file = filepath.Join(t.TempDir(), "id_ed25519")
	require.NoError(t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", file).Run())
	public, err := os.ReadFile(file + ".pub")
	require.NoError(t, err)
	return file, who + " " + string(public)
}

func signedBy(t *testing.T, dir, key string) string {
	t.Helper()
	run(t, dir, "-c", "gpg.format=ssh", "-c", "user.signingKey="+key, "commit", "-q", "-S", "--allow-empty", "-m", "signed")
	return run(t, dir, "rev-parse", "HEAD")
}

func TestVerifyCommit(t *testing.T) {
	t.Parallel()
	alice, aliceLine := signingKey(t, "alice@example.org")
	mallory, malloryLine := signingKey(t, "mallory@example.org")
	dir := repository(t)
	unsigned := run(t, dir, "rev-parse", "HEAD")
	byAlice, byMallory := signedBy(t, dir, alice), signedBy(t, dir, mallory)
	repo := In(dir)

	who, err := repo.VerifyCommit(t.Context(), byAlice, []byte(aliceLine))
	require.NoError(t, err)
	assert.Equal(t, "alice@example.org", who)
	for name, c := range map[string]struct{ commit, list string }{
		"no signature":         {unsigned, aliceLine},
		"of somebody else":     {byMallory, aliceLine},
		"an empty list":        {byAlice, ""},
		"a list with nonsense": {byAlice, "nonsense\n"},
		"for other purposes":   {byAlice, "alice@example.org namespaces=\"file\" " + aliceLine[len("alice@example.org "):]},
	} {
		_, err := repo.VerifyCommit(t.Context(), c.commit, []byte(c.list))
		var not *NotSignedError
		require.ErrorAs(t, err, &not, name)
	}
	_, err = repo.VerifyCommit(t.Context(), "HEAD", []byte(aliceLine))
	require.Error(t, err)

	// What the repository says about signatures does not count.
	list := filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(list, []byte(malloryLine), 0o600))
	for name, value := range map[string]string{"gpg.ssh.allowedSignersFile": list, "gpg.ssh.program": "true", "gpg.program": "true", "gpg.format": "openpgp", "gpg.minTrustLevel": "never"} {
		run(t, dir, "config", name, value)
	}
	_, err = repo.VerifyCommit(t.Context(), byMallory, []byte(aliceLine))
	require.Error(t, err)
	_, err = repo.VerifyCommit(t.Context(), byAlice, []byte(aliceLine))
	require.NoError(t, err)
}
