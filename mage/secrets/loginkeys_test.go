package secrets

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const anotherPublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUd1sKvLbiMvBZKD5c9QHVcGIbEABMh1ZaMRJ3LxRPi stranger"

// The attack: with the public recipient alone somebody makes a secrets.yaml that
// decrypts and whose MAC is right. What it adds is seen by comparing.
func TestAForgedLoginKeyIsNamed(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "gateway-token: x\nssh-public-key: "+aPublicKey+"\n")
	old := readAll(t, project.SecretsFile())
	forged := encryptYAML(t, project, "gateway-token: y\nextra: 1\nssh-public-key: |\n  "+aPublicKey+"\n  "+anotherPublicKey+"\n")
	writeText(t, project.SecretsFile(), string(forged))
	_, err := project.Verify(ids)
	require.NoError(t, err, "nothing about the file itself is wrong")

	change, err := Compare("secrets/secrets.yaml", old, forged, ids)
	require.NoError(t, err)
	assert.Equal(t, []string{"gateway-token", "ssh-public-key"}, change.Changed)
	assert.Equal(t, []string{"extra"}, change.Added)
	assert.Empty(t, change.Removed)
	require.Len(t, change.LoginAdded, 1)
	assert.Equal(t, "stranger", change.LoginAdded[0].Comment)
	assert.True(t, strings.HasPrefix(change.LoginAdded[0].Fingerprint, "SHA256:"))
	assert.Contains(t, change.LoginAdded[0].String(), `(its comment says "stranger")`)

	back, err := Compare("secrets/secrets.yaml", forged, old, ids)
	require.NoError(t, err)
	assert.Equal(t, []string{"extra"}, back.Removed)
	assert.Len(t, back.LoginRemoved, 1)
}

func TestCompare(t *testing.T) {
	t.Parallel()
	ids, others := newIdentities(t, 1), newIdentities(t, 1)
	project := newProject(t, ids, "a: x\nkey: "+aPublicKey+"\n")
	now := readAll(t, project.SecretsFile())

	same, err := Compare("secrets/secrets.yaml", encryptYAML(t, project, "a: x\nkey: "+aPublicKey+"\n"), now, ids)
	require.NoError(t, err)
	assert.True(t, same.Empty(), "the ciphertext differs, the values do not")

	theirs := newProject(t, others, "a: x\n")
	unknown, err := Compare("secrets/secrets.yaml", readAll(t, theirs.SecretsFile()), now, ids)
	require.NoError(t, err)
	require.ErrorIs(t, unknown.Unknown, ErrWrongKey)
	assert.Len(t, unknown.LoginAdded, 1, "what cannot be compared is all new")

	fewer, err := Compare("secrets/secrets.yaml", encryptYAML(t, project, `key: from="10.0.0.1" `+aPublicKey+"\na: x\n"), now, ids)
	require.NoError(t, err)
	require.Len(t, fewer.LoginAdded, 1, "a key that loses its restrictions is another one")
	_, err = Compare("secrets/secrets.yaml", nil, []byte("a: b\n"), ids)
	require.ErrorIs(t, err, ErrNotEncrypted)
}

func TestWhatAPersonSetsIsConfirmed(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "ssh-public-key: "+anotherPublicKey+"\n")
	_, err := project.Set(t.Context(), ids, "ssh-public-key", anotherPublicKey+"\n"+aPublicKey+"\n")
	require.NoError(t, err)
	report, err := project.Verify(ids)
	require.NoError(t, err)
	open, err := UnconfirmedLogins(t.Context(), project.Dir, report.LoginKeys())
	require.NoError(t, err)
	require.Len(t, open, 1, "the key that was there before was not set by this person")
	assert.Equal(t, "stranger", open[0].Comment)
}
