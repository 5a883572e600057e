package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io/fs"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

// keys are one server's SSH keys, made before it starts.
type keys struct {
	hostPrivate, hostPublic string
	userFile, userPublic    string
}

func newKeys(t testing.TB) keys {
	t.Helper()
	var k keys
	k.hostPrivate, k.hostPublic = newSSHKey(t)
	var userPrivate string
	userPrivate, k.userPublic = newSSHKey(t)
	k.hostPublic = strings.TrimSpace(k.hostPublic)
	k.userFile = filepath.Join(t.TempDir(), "id_ed25519")
	noError(t, os.WriteFile(k.userFile, []byte(userPrivate), 0o600))
	noError(t, os.WriteFile(k.userFile+".pub", []byte(k.userPublic), 0o644))
	return k
}

// newSSHKey returns an ed25519 key as ssh-keygen writes it, and its public line.
func newSSHKey(t testing.TB) (private, public string) {
	t.Helper()
	publicKey, privateKey, err := ed25519.GenerateKey(rand.Reader)
	noError(t, err)
	block, err := ssh.MarshalPrivateKey(privateKey, "")
	noError(t, err)
	line, err := ssh.NewPublicKey(publicKey)
	noError(t, err)
	return string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(line))
}

func newAgeKey(t testing.TB) (identity, recipient string) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	noError(t, err)
	return key.String(), key.Recipient().String()
}

// draw returns a random host of a /16 network.
func draw(subnet netip.Prefix) netip.Addr {
	bytes := subnet.Addr().As4()
	bytes[2] = byte(1 + mathrand.IntN(254))
	bytes[3] = byte(1 + mathrand.IntN(254))
	return netip.AddrFrom4(bytes)
}

// deliver copies files into a container that has not started yet.
func deliver(t testing.TB, container string, files map[string]string) {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for path, content := range files {
		noError(t, w.WriteHeader(&tar.Header{
			Name: strings.TrimPrefix(path, "/"), Mode: 0o600, Size: int64(len(content)),
		}))
		_, err := w.Write([]byte(content))
		noError(t, err)
	}
	noError(t, w.Close())
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", "cp", "-", container+":/")
	cmd.Stdin = &archive
	out, err := cmd.CombinedOutput()
	noError(t, err, string(out))
}

// put writes files below a folder of this machine.
func put(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for path, content := range files {
		path = filepath.Join(dir, path)
		noError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		noError(t, os.WriteFile(path, []byte(content), fs.FileMode(0o600)))
	}
}
