package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (r *rotator) git(args ...string) {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.Dir, "-c", "user.name=T", "-c", "user.email=t@example.org"}, args...)...)
	cmd.Env = git.Environment(os.Environ())
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "git %v: %s", args, out)
}

// A team may ask for signed commits. The list comes with the repository, so that a
// change of it is asked about, and so is that none is asked for any more.
func TestUpdateWantsASignedCommit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	r := newRotator(t, "one")
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).Run())
	public, err := os.ReadFile(key + ".pub")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(r.Dir, "signers"), append([]byte("alice@example.org "), public...), 0o644))
	r.config.Signers = "signers"
	r.git("init", "-q")
	r.git("add", ".")
	r.git("commit", "-q", "-m", "unsigned")

	_, err = r.Update(t.Context(), "one", quick())
	var declined *trust.DeclinedError
	require.ErrorAs(t, err, &declined, "the list itself is confirmed first")
	o := quick()
	o.Yes = true
	_, err = r.Update(t.Context(), "one", o)
	require.ErrorContains(t, err, "is not signed")
	assert.Contains(t, next.Of(err).String(), "git commit -S")
	assert.Equal(t, int(CodeUsage), ExitStatus(err))

	r.git("-c", "gpg.format=ssh", "-c", "user.signingKey="+key, "commit", "-q", "-S", "--allow-empty", "-m", "signed")
	_, err = r.Update(t.Context(), "one", quick())
	require.NoError(t, err)
	assert.Contains(t, r.story.String(), "is signed by alice@example.org")

	require.NoError(t, os.WriteFile(filepath.Join(r.Dir, "nix", "new.nix"), []byte("{ }\n"), 0o644))
	_, err = r.Update(t.Context(), "one", quick())
	require.ErrorContains(t, err, "is not what commit")
	require.NoError(t, os.Remove(filepath.Join(r.Dir, "nix", "new.nix")))

	r.config.Signers = ""
	_, err = r.Update(t.Context(), "one", quick())
	require.ErrorAs(t, err, &declined, "a merged vps.yaml cannot switch it off")
	assert.ErrorContains(t, err, "no signature any more")
}
