package secrets

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// TestSSHRecipientIsTheOneOfTheHostKey: the age identity that ssh-to-age makes of the
// private half, by its own recipe, has that recipient.
func TestSSHRecipientIsTheOneOfTheHostKey(t *testing.T) {
	t.Parallel()
	for range 20 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		key, err := ssh.NewPublicKey(public)
		require.NoError(t, err)
		recipient, err := SSHRecipient(string(ssh.MarshalAuthorizedKey(key)) + " root@web")
		require.NoError(t, err)

		secret := sha512.Sum512(private.Seed())
		identity, err := age.ParseX25519Identity(strings.ToUpper(bech32("age-secret-key-", secret[:32])))
		require.NoError(t, err)
		assert.Equal(t, identity.Recipient().String(), recipient)
	}
}

func TestSSHRecipientOfOtherKeys(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "junk", "ssh-ed25519 AAAA",
		"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
	} {
		_, err := SSHRecipient(line)
		assert.Error(t, err, line)
	}
}

// FuzzSSHRecipient: the line comes from a server.
func FuzzSSHRecipient(f *testing.F) {
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdpcwvIXLk2dVmwnTWV5fhHkrSRGWEUqqMFV7lZfRZl me")
	f.Add("ssh-rsa AAAA")
	f.Fuzz(func(t *testing.T, line string) {
		if recipient, err := SSHRecipient(line); err == nil {
			_, err := age.ParseX25519Recipient(recipient)
			assert.NoError(t, err)
		}
	})
}
