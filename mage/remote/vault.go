package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

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
func (k *keyFile) unlock(ctx context.Context, d *Dialer, clock *patience) (ssh.Signer, error) {
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
	signer, err := k.askPassphrase(ctx, d, clock)
	switch {
	case err == nil:
		v.open(signer)
	case ctx.Err() == nil:
		v.denied = err
	}
	return signer, err
}

func (k *keyFile) askPassphrase(ctx context.Context, d *Dialer, clock *patience) (ssh.Signer, error) {
	what := k.path
	for range passphraseTries {
		passphrase, err := ask(ctx, d, clock, func(ctx context.Context, p Prompter) ([]byte, error) {
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
