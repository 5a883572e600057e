package remote

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// Keeps away: a login where ssh refuses, on the strength of a known or pinned key.
func TestRevokedHostKeysFile(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.knows(keyLine("[web.example]:2222", v.key()))
	pinned := v.target
	pinned.HostKey = keyLine("", v.key())
	for _, target := range []Target{v.target, pinned} {
		target.Options.RevokedHostKeys = v.home.write("list", "# lost\n"+keyLine("", newSigner(t).PublicKey())+"\n")
		require.NoError(t, try(t, v.dialer, target))
		v.home.write("list", "# lost\n"+keyLine("", v.key()))
		var bad *RevokedHostKeyError
		require.ErrorAs(t, try(t, v.dialer, target), &bad)
		assert.Contains(t, bad.Source, "RevokedHostKeys")

		target.Options.RevokedHostKeys = v.home.path("none-such")
		err := try(t, v.dialer, target)
		require.ErrorContains(t, err, "RevokedHostKeys "+v.home.path("none-such"))
		assert.Contains(t, hintOf(t, err), "readable")
	}
	assert.Len(t, v.sawKeys(), 2, "a server whose key is revoked sees no key of ours")
}

// A KRL that cannot be read to its end says nothing of any key: it must not let one
// in.
func TestDamagedKRL(t *testing.T) {
	t.Parallel()
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		skipOrFail(t, "needs ssh-keygen: "+err.Error())
	}
	dir := t.TempDir()
	key, file := filepath.Join(dir, "key.pub"), filepath.Join(dir, "krl")
	require.NoError(t, os.WriteFile(key, []byte(keyLine("", newSigner(t).PublicKey())+"\n"), 0o600))
	out, err := exec.CommandContext(t.Context(), keygen, "-q", "-k", "-f", file, key).CombinedOutput()
	require.NoError(t, err, "%s", out)
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	_, err = readRevocation(file)
	require.NoError(t, err)
	for size := len(krlMagic); size < len(whole); size++ {
		require.NoError(t, os.WriteFile(file, whole[:size], 0o600))
		r, err := readRevocation(file)
		if err == nil { // cut where a section ends: a whole list of fewer sections
			assert.Empty(t, r.keys, size)
			assert.Less(t, size, len(whole)-50)
		}
	}
}

func FuzzKRL(f *testing.F) {
	f.Add([]byte(krlMagic + "\x00\x00\x00\x01" + string(make([]byte, 24+8))))
	f.Add([]byte(krlMagic + "\x00\x00\x00\x01" + string(make([]byte, 24+8)) + "\x01\x00\x00\x00\x1a\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00"))
	f.Add([]byte(krlMagic + "\x00\x00\x00\x02"))
	cert := &ssh.Certificate{Key: newSigner(f).PublicKey(), SignatureKey: newSigner(f).PublicKey(), Serial: 5, KeyId: "x",
		Signature: &ssh.Signature{Format: ssh.KeyAlgoED25519}}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &revocation{keys: map[string]bool{}, sha1: map[string]bool{}, sha256: map[string]bool{}}
		if len(data) < len(krlMagic) || r.parseKRL(data) != nil {
			return
		}
		_ = r.has(cert)
		if !r.has(cert) && r.has(cert.Key) {
			t.Error("the key of the certificate is revoked, and the certificate is not")
		}
	})
}
