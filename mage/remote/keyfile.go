package remote

import (
	"bytes"
	"context"
	"crypto/x509"
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
	errNotACert   = errors.New("not an SSH certificate")
	errEmpty      = errors.New("empty")
	errPuTTY      = errors.New("a key of PuTTY's; convert it with: puttygen KEY -O private-openssh -o NEW")
	errPKCS8      = errors.New("encrypted as PKCS#8, which is not supported; convert it with: ssh-keygen -p -f KEY")
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
	case len(bytes.TrimSpace(data)) == 0:
		return nil, nil, errEmpty
	case bytes.HasPrefix(data, []byte("PuTTY-User-Key-File")):
		return nil, nil, errPuTTY
	case bytes.Contains(data, []byte("BEGIN ENCRYPTED PRIVATE KEY")):
		return nil, nil, errPKCS8
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

func readCertificate(path string) (*ssh.Certificate, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	cert, ok := readPublic(path).(*ssh.Certificate)
	if !ok {
		return nil, errNotACert
	}
	return cert, nil
}

func sameKey(a, b ssh.PublicKey) bool {
	return a != nil && b != nil && bytes.Equal(a.Marshal(), b.Marshal())
}

// permissionsError refuses a key that others can read.
type permissionsError struct{ mode fs.FileMode }

func (e *permissionsError) Error() string {
	return fmt.Sprintf("mode %04o lets others read it", e.mode)
}

// passphraseTries is how often a person may mistype before a key is given up.
const passphraseTries = 3

var errWrongPassphrase = errors.New("wrong passphrase")

// vault keeps a private key sealed until its passphrase was given, once.
type vault struct {
	turn   chan struct{} // holds one token while somebody asks
	sealed []byte        // the encrypted file, nil once opened
	signer ssh.Signer
	denied error // final: the person is not asked again
}

func newVault() vault { return vault{turn: make(chan struct{}, 1)} }

func (v *vault) open(signer ssh.Signer) { v.signer, v.sealed = signer, nil }

// unlock returns the signer, asking for the passphrase where it is needed and was
// never asked for. Of several callers one asks; the others wait for the outcome.
func (k *keyFile) unlock(ctx context.Context, d *Dialer, t Target, clock *patience) (ssh.Signer, error) {
	v := &k.lock
	clock.pause()
	defer clock.resume()
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if v.signer != nil || v.denied != nil {
		return v.signer, v.denied
	}
	signer, err := k.askPassphrase(ctx, d, t, clock)
	switch {
	case err == nil:
		v.open(signer)
	case ctx.Err() == nil:
		v.denied = err
	}
	return signer, err
}

func (k *keyFile) askPassphrase(ctx context.Context, d *Dialer, t Target, clock *patience) (ssh.Signer, error) {
	what := k.path
	for range passphraseTries {
		passphrase, err := ask(ctx, d, t, clock, func(ctx context.Context, p Prompter) ([]byte, error) {
			return p.Passphrase(ctx, what)
		})
		if err != nil {
			return nil, fmt.Errorf("needs its passphrase: %w", err)
		}
		if len(passphrase) == 0 {
			return nil, errors.New("no passphrase given")
		}
		signer, err := decrypt(k.lock.sealed, passphrase)
		clear(passphrase)
		if err == nil && k.public != nil && !sameKey(k.public, signer.PublicKey()) {
			return nil, errors.New("its .pub file belongs to another key")
		}
		if !errors.Is(err, errWrongPassphrase) {
			return signer, err
		}
		what = k.path + " (wrong passphrase, try again)"
	}
	return nil, errWrongPassphrase
}

func decrypt(sealed, passphrase []byte) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKeyWithPassphrase(sealed, passphrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, errWrongPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errNotAKey, err)
	}
	return signer, nil
}
