package fresh

import (
	"archive/tar"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// adminUID is what useradd gave to admin in the image: the second user.
const adminUID = 1001

// file is one file or, with a slash at its end, folder of a server.
type file struct {
	path    string
	mode    int64
	owner   int
	content string
}

func archive(t testing.TB, files []file) string {
	t.Helper()
	var b strings.Builder
	w := tar.NewWriter(&b)
	for _, f := range files {
		kind := byte(tar.TypeReg)
		if strings.HasSuffix(f.path, "/") {
			kind = tar.TypeDir
		}
		require.NoError(t, w.WriteHeader(&tar.Header{
			Typeflag: kind, Name: f.path, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)),
		}))
		_, err := w.Write([]byte(f.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

// NewSSHKey makes an ed25519 key: as ssh-keygen writes it, and its public line.
func NewSSHKey(t testing.TB) (private, public string) {
	t.Helper()
	publicKey, privateKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(privateKey, "")
	require.NoError(t, err)
	line, err := ssh.NewPublicKey(publicKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line)))
}
