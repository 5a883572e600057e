package remote

import (
	"context"
	"fmt"
	"slices"

	"github.com/dagadbm/vps/mage/internal/next"
	"golang.org/x/crypto/ssh"
)

// hostKeyPolicy decides whether a server is the right one. It belongs to one
// connection.
type hostKeyPolicy struct {
	d          *Dialer
	target     Target
	pinned     bool
	hosts      *knownHosts // nil when pinned
	known      []hostLine  // plain keys that the server may present
	algorithms []string    // what is offered for the host key

	agreed   ssh.PublicKey // presented and verified
	refusal  error         // why it was not
	warning  string
	showOnly bool // the answer is no: this connection only fetches the key
}

// hostKeyPolicy reads what is known about t's host key.
func (d *Dialer) hostKeyPolicy(t Target) (*hostKeyPolicy, error) {
	p := &hostKeyPolicy{d: d, target: t}
	if t.HostKey != "" {
		key, err := parsePinned(t.HostKey)
		if err != nil {
			return nil, next.With(fmt.Errorf("pinned host key of %s: %w", t.name(), err),
				next.Words("write it as \"ssh-ed25519 AAAA…\", as ssh-keyscan prints it"))
		}
		p.pinned = true
		p.known = []hostLine{{file: "the pinned host key", key: key}}
		p.algorithms = algorithmsOf(key)
		return p, nil
	}
	hosts, err := d.knownHosts(t)
	if err != nil {
		return nil, fmt.Errorf("known host keys for %s: %w", t.name(), err)
	}
	plain, byAuthority := hosts.keysOf(t.lookup())
	p.hosts, p.known = hosts, plain
	p.algorithms = hostKeyAlgorithms(plain, byAuthority)
	return p, nil
}

func parsePinned(line string) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, fmt.Errorf("%q is not a public key", printable(line, 60))
	}
	if _, isCert := key.(*ssh.Certificate); isCert {
		return nil, fmt.Errorf("a certificate cannot be pinned")
	}
	return key, nil
}

// verify is called by every key exchange of the connection.
func (p *hostKeyPolicy) verify(ctx context.Context, clock *patience, key ssh.PublicKey) error {
	if p.agreed != nil {
		if !sameKey(p.agreed, key) {
			return fmt.Errorf("%s changed its host key during the connection", p.target.name())
		}
		return nil
	}
	err := p.decide(ctx, clock, key)
	switch {
	case err == nil:
		p.agreed = key
	case ctx.Err() == nil:
		p.refusal = err
	}
	return err
}

func (p *hostKeyPolicy) decide(ctx context.Context, clock *patience, key ssh.PublicKey) error {
	if p.pinned || p.showOnly {
		if !p.showOnly && sameKey(p.known[0].key, key) {
			return nil
		}
		return p.mismatch(key, p.known)
	}
	if revoked, ok := p.hosts.revoked(key); ok {
		return &RevokedHostKeyError{Name: p.target.name(), Addr: p.target.Addr(),
			Fingerprint: ssh.FingerprintSHA256(key), Source: revoked.source()}
	}
	if p.hosts.certified(p.target.lookup(), key) {
		return nil
	}
	key = plainKey(key)
	switch {
	case slices.ContainsFunc(p.known, func(l hostLine) bool { return sameKey(l.key, key) }):
		return nil
	case len(p.known) > 0:
		return p.mismatch(key, p.known)
	}
	return p.decideUnknown(ctx, clock, key)
}

// decideUnknown is for a host that nothing is known about.
func (p *hostKeyPolicy) decideUnknown(ctx context.Context, clock *patience, key ssh.PublicKey) error {
	if done, err := p.rememberedInThisRun(key); done {
		return err
	}
	fingerprint := ssh.FingerprintSHA256(key)
	if slices.Contains(p.d.AcceptHostKeys, fingerprint) {
		p.accept(key)
		return nil
	}
	yes, err := ask(ctx, p.d, clock, func(ctx context.Context, prompter Prompter) (bool, error) {
		if done, err := p.rememberedInThisRun(key); done {
			return err == nil, err // another login asked while this one waited
		}
		yes, err := prompter.TrustHostKey(ctx, p.question(key))
		if yes && err == nil {
			p.accept(key)
		}
		return yes, err
	})
	switch {
	case err == nil && yes:
		return nil
	case err == nil:
		return p.unknown(key, nil)
	default:
		return p.unknown(key, err)
	}
}

// rememberedInThisRun compares with a key accepted earlier through this Dialer.
func (p *hostKeyPolicy) rememberedInThisRun(key ssh.PublicKey) (done bool, err error) {
	known := p.d.memory.trustedKey(p.target.lookup())
	if known == "" {
		return false, nil
	}
	if known == string(key.Marshal()) {
		return true, nil
	}
	before, err := ssh.ParsePublicKey([]byte(known))
	if err != nil {
		return true, err
	}
	return true, p.mismatch(key, []hostLine{{file: "the key accepted a moment ago", key: before}})
}

// accept remembers a key that was unknown, in this Dialer and in known_hosts.
func (p *hostKeyPolicy) accept(key ssh.PublicKey) {
	p.d.memory.trust(p.target.lookup(), key)
	if p.d.ForgetHostKeys {
		return
	}
	if err := p.d.record(p.target, key); err != nil {
		p.warning = fmt.Sprintf("the host key of %s could not be recorded: %v", p.target.name(), err)
	}
}

func (p *hostKeyPolicy) question(key ssh.PublicKey) HostKeyQuestion {
	return HostKeyQuestion{Name: p.target.name(), Address: p.target.Addr(), Type: key.Type(),
		Fingerprint: ssh.FingerprintSHA256(key), KnownAs: p.hosts.namesOf(key)}
}

// mismatchOnly is a policy that refuses any key, as differing from the known ones.
func (p *hostKeyPolicy) mismatchOnly() *hostKeyPolicy {
	return &hostKeyPolicy{d: p.d, target: p.target, known: p.known, algorithms: plainAlgorithms(), showOnly: true}
}
