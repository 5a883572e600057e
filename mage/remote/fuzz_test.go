package remote

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// Whatever is in known_hosts, it loads, and only the lines we understood count.
func FuzzKnownHosts(f *testing.F) {
	key := newSigner(f).PublicKey()
	for _, pattern := range []string{"host", "[host]:2222", "@cert-authority *", "@revoked *", "a,!b,c*", "|1|AAAA|AAAA", "!", "[x", "@x y"} {
		f.Add([]byte(keyLine(pattern, key)))
	}
	f.Add([]byte("# comment\n\nhost ssh-rsa AAAA\r\n\x00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "known_hosts")
		require.NoError(t, os.WriteFile(file, data, 0o600))
		hosts, err := loadKnownHosts([]string{file})
		require.NoError(t, err)
		plain, _ := hosts.keysOf("host:22")
		for _, l := range plain {
			assert.Empty(t, l.marker)
			assert.Positive(t, l.line)
			assert.NotEmpty(t, algorithmsOf(l.key))
		}
		hosts.revoked(key)
		hosts.namesOf(key)
	})
}

// A file in the place of a key is a key, a public key, or a problem: never both,
// never neither.
func FuzzKeyFile(f *testing.F) {
	for _, passphrase := range []string{"", "sesame"} {
		h := newHome(f)
		public := h.addKey("k", passphrase)
		data, err := os.ReadFile(h.path("k"))
		require.NoError(f, err)
		f.Add(data)
		f.Add(ssh.MarshalAuthorizedKey(public))
	}
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k := &keyFile{path: "k", lock: newVault()}
		k.parse(data)
		usable := k.lock.signer != nil || k.lock.sealed != nil
		assert.NotEqual(t, usable, k.problem != nil)
		if k.lock.signer != nil {
			assert.Equal(t, k.lock.signer.PublicKey(), k.public)
		}
	})
}

func FuzzPinnedKey(f *testing.F) {
	f.Add(keyLine("", newSigner(f).PublicKey()))
	f.Add("ssh-ed25519 AAAA")
	f.Fuzz(func(t *testing.T, line string) {
		if key, err := parsePinned(line); err == nil {
			assert.NotEmpty(t, algorithmsOf(key))
		}
	})
}

// Requests of the SFTP client pass the mode pipe unchanged, or gain a mode.
func FuzzModePipe(f *testing.F) {
	f.Add([]byte{0, 0, 0, 18, sftpOpen, 0, 0, 0, 7, 0, 0, 0, 1, 'f', 0, 0, 0, 0x2a, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newModes()
		m.set("f", 0o600)
		var out lengths
		n, err := m.pipe(nopCloser{&out}).Write(b)
		require.NoError(t, err)
		assert.Equal(t, len(b), n)
		assert.Contains(t, []int{len(b), len(b) + 4}, out.total)
	})
}

type lengths struct{ total int }

func (l *lengths) Write(b []byte) (int, error) { l.total += len(b); return len(b), nil }
