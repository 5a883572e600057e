package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxKeyFile bounds, in bytes, what is read of a key file.
const maxKeyFile = 1 << 20

var (
	errNotRegular = errors.New("not a regular file")
	errPublicOnly = errors.New("a public key only, and the agent does not hold its private half")
	errNotAKey    = errors.New("not an SSH private key")
	errHardware   = errors.New("a hardware key, and no agent holds it")
)

// keyFile is a private key on disk, as far as it could be read without a
// passphrase.
type keyFile struct {
	path    string
	public  ssh.PublicKey    // nil when only the passphrase reveals it
	cert    *ssh.Certificate // from -cert.pub beside the key; nil without
	problem error            // why the private half cannot be used
	lock    vault
}

// readKeyFile reads the key at path, and what lies beside it. Problems are kept
// in the result: the public half may be useful all the same, with an agent.
func readKeyFile(path string) *keyFile {
	k := &keyFile{path: path, lock: newVault()}
	data, err := readPrivate(path)
	if err != nil {
		k.problem = err
	} else {
		k.parse(data)
	}
	base := strings.TrimSuffix(path, ".pub")
	if k.public == nil {
		k.public = readPublic(base + ".pub")
	}
	if errors.Is(k.problem, errNotAKey) && k.public != nil && strings.HasPrefix(k.public.Type(), "sk-") {
		k.problem = errHardware
	}
	if cert, ok := readPublic(base + "-cert.pub").(*ssh.Certificate); ok && sameKey(cert.Key, k.public) {
		k.cert = cert
	}
	return k
}

func (k *keyFile) parse(data []byte) {
	if public, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		k.public, k.problem = public, errPublicOnly
		return
	}
	signer, public, err := parsePrivate(data)
	switch {
	case err != nil:
		k.problem = err
	case signer != nil:
		k.public = signer.PublicKey()
		k.lock.open(signer)
	default:
		k.public = public
		k.lock.sealed = data
	}
}

// parsePrivate returns the signer of a plain key; of an encrypted one no signer,
// and the public half where the format shows it.
func parsePrivate(data []byte) (ssh.Signer, ssh.PublicKey, error) {
	signer, err := ssh.ParsePrivateKey(data)
	var encrypted *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return signer, signer.PublicKey(), nil
	case errors.As(err, &encrypted):
		return nil, encrypted.PublicKey, nil
	default:
		return nil, nil, fmt.Errorf("%w: %s", errNotAKey, strings.TrimPrefix(err.Error(), "ssh: "))
	}
}

// readPrivate reads a private key file the way ssh does: not when others can.
// A public key at the same place may be read by anybody.
func readPrivate(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, &permissionsError{mode}
	}
	return data, nil
}

// openRegular refuses pipes and devices, whose reading might never end.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return os.Open(path)
}

func readPublic(path string) ssh.PublicKey {
	f, err := openRegular(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return public
}

func sameKey(a, b ssh.PublicKey) bool {
	return a != nil && b != nil && bytes.Equal(a.Marshal(), b.Marshal())
}

// permissionsError refuses a key that others can read.
type permissionsError struct{ mode fs.FileMode }

func (e *permissionsError) Error() string {
	return fmt.Sprintf("mode %04o lets others read it", e.mode)
}
