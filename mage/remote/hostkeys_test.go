package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

func TestHostKeysOfEveryType(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	v.hostKeys = append(v.hostKeys, other)

	keys, err := v.dialer.HostKeys(t.Context(), v.target)

	require.NoError(t, err)
	require.Len(t, keys, 2)
	assert.True(t, sameKey(v.key(), keys[0]))
	assert.True(t, sameKey(other.PublicKey(), keys[1]))
	assert.Empty(t, v.sawKeys(), "nobody logged in")
}

func TestLoginKeyIsTheOneThatWasAccepted(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.target.HostKey = keyLine("", v.key())
	c, err := v.dialer.Dial(t.Context(), v.target)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	<-c.Done()
	require.NotNil(t, c.LoginKey())
	assert.Equal(t, v.allowed[0].Marshal(), c.LoginKey().Marshal())
}
