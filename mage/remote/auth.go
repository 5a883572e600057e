package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"

	"golang.org/x/crypto/ssh"
)

var (
	errNoKeysLeft   = errors.New("no key was accepted")
	errNoPublicKeys = errors.New("the server does not accept public keys")
)

// login is the authentication part of one attempt: which keys were offered and
// what came of them. x/crypto calls it from one goroutine.
type login struct {
	ctx     context.Context
	d       *Dialer
	clock   *patience
	offers  *offers
	next    int
	current *proof
	tried   []string
	methods []string // what the server accepts
	started bool
	stop    error // ends the login: the person gave up
}

// nextKey is the ssh.ClientAuthCallback: one key at a time, so that every
// refusal is known by name, and one bad key does not end the others' turn.
func (l *login) nextKey(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.started, l.methods = true, c.AllowedMethods
	l.settle()
	if l.stop != nil {
		return nil, l.stop
	}
	if !slices.Contains(c.AllowedMethods, "publickey") {
		return nil, errNoPublicKeys
	}
	for l.next < len(l.offers.list) {
		o := l.offers.list[l.next]
		l.next++
		if o.public == nil && !l.reveal(&o) {
			continue
		}
		l.current = &proof{login: l, offer: o}
		return ssh.PublicKeys(l.current), nil
	}
	return nil, errNoKeysLeft
}

// reveal asks for the passphrase of a key whose format hides its public half.
func (l *login) reveal(o *offer) bool {
	signer, err := o.file.unlock(l.ctx, l.d, l.clock)
	if err != nil {
		l.fail(o.label, err)
		return false
	}
	o.public = signer.PublicKey()
	return true
}

// settle notes what became of the key offered last.
func (l *login) settle() {
	switch p := l.current; {
	case p == nil:
	case p.err != nil:
		l.fail(p.offer.label, p.err)
	case p.signed:
		l.tried = append(l.tried, p.offer.label+" (accepted, but not enough alone)")
	default:
		l.tried = append(l.tried, p.offer.label)
	}
	l.current = nil
}

// fail notes a key that could not sign; a person's Ctrl-C ends it all.
func (l *login) fail(label string, err error) {
	l.offers.skipped = append(l.offers.skipped, label+": "+err.Error())
	if errors.Is(err, context.Canceled) || l.ctx.Err() != nil {
		l.stop = err
	}
}

// proof is a key on offer. It implements ssh.AlgorithmSigner; that it is asked to
// sign means that the server would accept the key.
type proof struct {
	login  *login
	offer  offer
	signed bool
	err    error
}

func (p *proof) PublicKey() ssh.PublicKey { return p.offer.public }

func (p *proof) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return p.SignWithAlgorithm(random, data, "")
}

func (p *proof) SignWithAlgorithm(_ io.Reader, data []byte, algo string) (*ssh.Signature, error) {
	signature, err := p.sign(data, algo)
	p.signed, p.err = err == nil, err
	return signature, err
}

func (p *proof) sign(data []byte, algo string) (*ssh.Signature, error) {
	l := p.login
	if p.offer.agent != nil {
		l.clock.pause() // it may want a touch
		defer l.clock.resume()
		return p.offer.agent.sign(l.ctx, data, algo)
	}
	signer, err := p.offer.file.unlock(l.ctx, l.d, l.clock)
	if err != nil {
		return nil, err
	}
	if s, ok := signer.(ssh.AlgorithmSigner); ok {
		return s.SignWithAlgorithm(rand.Reader, data, algo)
	}
	return signer.Sign(rand.Reader, data)
}

var _ ssh.AlgorithmSigner = (*proof)(nil)
