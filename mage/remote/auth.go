package remote

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Methods of logging in that this package knows, by their names in the protocol.
const (
	methodKeys     = "publickey"
	methodQuestion = "keyboard-interactive"
)

// defaultPrompts is how often a server's questions may be answered wrongly, as in
// ssh.
const defaultPrompts = 3

var (
	errNoKeysLeft   = errors.New("no key was accepted")
	errNoPublicKeys = errors.New("the server does not accept public keys")
	errOneMore      = errors.New("the server wants another method beside the key")
)

// login is the authentication part of one attempt: which keys were offered and
// what came of them. x/crypto calls it from one goroutine.
type login struct {
	ctx     context.Context
	d       *Dialer
	target  Target
	clock   *patience
	offers  *offers
	next    int
	current *proof
	used    *proof // the key that was accepted, alone or with more to follow
	tried   []string
	methods []string // what the server accepts
	partial []string // what succeeded and was not enough
	rounds  int      // of questions
	deaf    bool     // questions cannot be answered here
	started bool
	stop    error // ends the login: the person gave up
}

// nextMethod is the ssh.ClientAuthCallback: one key at a time, so that every
// refusal is known by name and one bad key does not end the others' turn; then
// the server's questions, if there is somebody to answer them.
func (l *login) nextMethod(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.started, l.methods = true, c.AllowedMethods
	l.settle(c.PartialSuccessMethods)
	if l.stop != nil {
		return nil, l.stop
	}
	for _, name := range l.order() {
		if !slices.Contains(l.methods, name) || l.stop != nil {
			continue
		}
		if method := l.try(name); method != nil {
			return method, nil
		}
	}
	switch {
	case l.stop != nil:
		return nil, l.stop
	case len(l.partial) > 0:
		return nil, errOneMore
	case !slices.Contains(c.AllowedMethods, methodKeys):
		return nil, errNoPublicKeys
	}
	return nil, errNoKeysLeft
}

// order is in which methods are tried: PreferredAuthentications, or keys first.
func (l *login) order() []string {
	if len(l.target.Options.Methods) > 0 {
		return l.target.Options.Methods
	}
	return []string{methodKeys, methodQuestion}
}

// try gives a method its next turn; nil when it has none.
func (l *login) try(name string) ssh.AuthMethod {
	switch {
	case name == methodKeys:
		return l.nextKey()
	case name == methodQuestion && l.answers():
		l.rounds++
		return ssh.KeyboardInteractive(l.answer)
	}
	return nil
}

func (l *login) nextKey() ssh.AuthMethod {
	for l.next < len(l.offers.list) {
		o := l.offers.list[l.next]
		l.next++
		if o.public == nil && !l.reveal(&o) {
			continue
		}
		l.current = &proof{login: l, offer: o}
		return ssh.PublicKeys(l.current)
	}
	return nil
}

// reveal asks for the passphrase of a key whose format hides its public half.
func (l *login) reveal(o *offer) bool {
	signer, err := o.file.unlock(l.ctx, l.d, l.target, l.clock)
	if err != nil {
		l.fail(o.label, err)
		return false
	}
	o.public = signer.PublicKey()
	if why := forbiddenKey(l.target, o.public); why != "" {
		l.offers.skipped = append(l.offers.skipped, o.label+": "+why)
		return false
	}
	return true
}

// settle notes what became of the method tried last.
func (l *login) settle(partial []string) {
	more := len(partial) > len(l.partial)
	l.partial = partial
	switch p := l.current; {
	case p == nil:
	case p.err != nil:
		l.fail(p.offer.label, p.err)
	case more:
		l.used = p
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

// answers says whether the server's questions are to be answered: as a second
// factor, where the server takes no keys, and where it took none of ours. Not
// where the account let a key in before: a server that no longer does has changed,
// and nobody types a password at the end of an update.
func (l *login) answers() bool {
	if l.d.Prompter == nil || l.target.Options.BatchMode || l.deaf || l.rounds >= cmp.Or(l.target.Options.PasswordPrompts, defaultPrompts) {
		return false
	}
	return len(l.partial) > 0 || !l.d.memory.letIn(l.target.account())
}

// answer is an ssh.KeyboardInteractiveChallenge. What a server asks is cleaned
// before it is shown.
func (l *login) answer(name, instruction string, questions []string, echos []bool) ([]string, error) {
	say := strings.TrimSpace(printable(name, maxErrorText) + " " + printable(instruction, maxErrorText))
	if len(questions) == 0 {
		l.d.notice(l.target, say)
		return nil, nil
	}
	q := Challenge{Name: l.target.name(), User: l.target.user(), Text: say}
	for i, question := range questions {
		q.Questions = append(q.Questions, Question{Text: printable(question, maxErrorText), Echo: echos[i]})
	}
	answers, err := ask(l.ctx, l.d, l.target, l.clock, func(ctx context.Context, p Prompter) ([]string, error) {
		return p.Answer(ctx, q)
	})
	if err == nil && len(answers) != len(questions) {
		err = fmt.Errorf("%d answers to %d questions", len(answers), len(questions))
	}
	if err != nil {
		l.deaf = true
		l.fail("the server's question "+q.Questions[0].Text, err)
	}
	return answers, err
}

// proof is a key on offer. It implements ssh.MultiAlgorithmSigner; that it is asked
// to sign means that the server would accept the key.
type proof struct {
	login *login
	offer offer
	err   error
}

func (p *proof) PublicKey() ssh.PublicKey { return p.offer.public }

// Algorithms leaves SHA-1 out, which the library would use with a server that does
// not say what it can.
func (p *proof) Algorithms() []string { return signatures(p.login.target, p.offer.public) }

func (p *proof) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return p.SignWithAlgorithm(random, data, "")
}

func (p *proof) SignWithAlgorithm(_ io.Reader, data []byte, algo string) (*ssh.Signature, error) {
	signature, err := p.sign(data, algo)
	p.err = err
	return signature, err
}

func (p *proof) sign(data []byte, algo string) (*ssh.Signature, error) {
	l := p.login
	if p.offer.agent != nil {
		l.clock.pause() // it may want a touch
		defer l.clock.resume()
		return p.offer.agent.sign(l.ctx, l.d, l.target, data, algo)
	}
	signer, err := p.offer.file.unlock(l.ctx, l.d, l.target, l.clock)
	if err != nil {
		return nil, err
	}
	if s, ok := signer.(ssh.AlgorithmSigner); ok {
		return s.SignWithAlgorithm(rand.Reader, data, algo)
	}
	return signer.Sign(rand.Reader, data)
}

var _ ssh.MultiAlgorithmSigner = (*proof)(nil)
