package remote

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/dagadbm/vps/mage/internal/next"
	"golang.org/x/crypto/ssh"
)

// defaultRSASize is the least size, in bits, of an RSA key, as in ssh.
const defaultRSASize = 1024

// hostKeyPolicy decides whether a server is the right one. It belongs to one
// connection.
type hostKeyPolicy struct {
	d           *Dialer
	target      Target
	pinned      bool
	hosts       *knownHosts // empty where there are no files
	revocation  *revocation // of RevokedHostKeys; nil without
	known       []hostLine  // plain keys that the server may present
	portless    []hostLine  // keys known for the name without the port, where known is empty
	authorities []hostLine
	algorithms  []string // what is offered for the host key
	remote      net.Addr // who answered; nil behind a jump host

	agreed   ssh.PublicKey // presented and verified
	accepted bool          // it was unknown before
	refusal  error         // why it was not
	showOnly bool          // the answer is no: this connection only fetches the key
}

// hostKeyPolicy reads what is known about t's host key.
func (d *Dialer) hostKeyPolicy(t Target) (*hostKeyPolicy, error) {
	p := &hostKeyPolicy{d: d, target: t, pinned: t.HostKey != "", hosts: &knownHosts{}}
	if err := p.readRevoked(); err != nil {
		return nil, err
	}
	hosts, err := d.knownHosts(t)
	switch {
	case err == nil:
		p.hosts = hosts
	case !p.pinned: // else, as in ssh, what cannot be read revokes nothing
		return nil, fmt.Errorf("known host keys for %s: %w", t.name(), err)
	}
	if p.pinned {
		key, err := parsePinned(t.HostKey)
		if err != nil {
			return nil, next.With(fmt.Errorf("pinned host key of %s: %w", t.name(), err),
				next.Words("write it as \"ssh-ed25519 AAAA…\", as ssh-keyscan prints it"))
		}
		p.known = []hostLine{{file: "the pinned host key", key: key}}
		p.algorithms = algorithmsOf(key)
	} else {
		p.lookUp()
	}
	if p.algorithms = allowed(t.Options.HostKeyAlgorithms, p.algorithms); len(p.algorithms) == 0 {
		return nil, noneLeft(t, "HostKeyAlgorithms", t.Options.HostKeyAlgorithms)
	}
	return p, nil
}

// lookUp finds what known_hosts has of the host. Like ssh, it takes a line without
// a port for any port, as long as there is none with the port.
func (p *hostKeyPolicy) lookUp() {
	p.known, p.authorities = p.hosts.keysOf(p.target.lookup())
	if len(p.known)+len(p.authorities) == 0 && p.target.lookup() != p.target.bareLookup() {
		p.portless, p.authorities = p.hosts.keysOf(p.target.bareLookup())
	}
	p.algorithms = hostKeyAlgorithms(p.known, len(p.authorities) > 0)
	if len(p.portless) > 0 { // known types first; others may still be accepted
		p.algorithms = appendMissing(typesOf(p.portless), p.algorithms...)
	}
}

func (p *hostKeyPolicy) readRevoked() error {
	file := p.target.Options.RevokedHostKeys
	if file == "" {
		return nil
	}
	revocation, err := readRevocation(p.d.expand(file))
	if err != nil {
		return next.With(fmt.Errorf("logging in to %s: RevokedHostKeys %s of ssh_config: %w", p.target.name(), file, err),
			next.Words("make that file readable, or remove RevokedHostKeys from ssh_config: ssh refuses every host key without it"))
	}
	p.revocation = revocation
	return nil
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
	if p.showOnly {
		return p.mismatch(key, p.known)
	}
	if err := p.forbidden(key); err != nil {
		return err
	}
	if !p.pinned && p.certified(key) {
		return nil
	}
	key = plainKey(key)
	switch {
	case hasKey(p.known, key):
		return p.checkIP(key)
	case len(p.known) > 0:
		return p.mismatch(key, p.known)
	case hasKey(p.portless, key):
		return p.checkIP(key)
	}
	return p.decideUnknown(ctx, clock, key)
}

// forbidden refuses a key whatever else is known of it, a pin included.
func (p *hostKeyPolicy) forbidden(key ssh.PublicKey) error {
	source := ""
	if line, ok := p.hosts.revoked(key); ok {
		source = line.source()
	}
	if p.revocation != nil && p.revocation.has(key) {
		source = p.target.Options.RevokedHostKeys + " (RevokedHostKeys)"
	}
	if source != "" {
		return &RevokedHostKeyError{Name: p.target.name(), Addr: p.target.Addr(),
			Fingerprint: ssh.FingerprintSHA256(key), Source: source}
	}
	if bits := tooShort(p.target, key); bits > 0 {
		return next.With(fmt.Errorf("host key of %s (%s) has %d bits, fewer than RequiredRSASize", p.target.name(), p.target.Addr(), bits),
			next.Words("give the server a longer or an ed25519 host key"))
	}
	return nil
}

// tooShort returns the size of an RSA key, in bits, if it is less than required.
func tooShort(t Target, key ssh.PublicKey) int {
	public, ok := plainKey(key).(ssh.CryptoPublicKey)
	if !ok {
		return 0
	}
	number, ok := public.CryptoPublicKey().(*rsa.PublicKey)
	if !ok || number.N.BitLen() >= max(t.Options.RequiredRSASize, defaultRSASize) {
		return 0
	}
	return number.N.BitLen()
}

// certified tells whether key is a valid certificate, for this host, of an
// authority in known_hosts.
func (p *hostKeyPolicy) certified(key ssh.PublicKey) bool {
	cert, ok := key.(*ssh.Certificate)
	if !ok || cert.CertType != ssh.HostCert || !hasKey(p.authorities, cert.SignatureKey) {
		return false
	}
	signedIn := allowed(p.target.Options.CASignatures, []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384,
		ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
	if cert.Signature == nil || !slices.Contains(signedIn, cert.Signature.Format) {
		return false
	}
	return new(ssh.CertChecker).CheckCert(p.target.bareLookup(), cert) == nil
}

func hasKey(lines []hostLine, key ssh.PublicKey) bool {
	return slices.ContainsFunc(lines, func(l hostLine) bool { return sameKey(l.key, key) })
}

// checkIP is CheckHostIP: what known_hosts has of the address must not be another
// key than what it has of the name.
func (p *hostKeyPolicy) checkIP(key ssh.PublicKey) error {
	tcp, ok := p.remote.(*net.TCPAddr)
	if !p.target.Options.CheckHostIP || !ok || p.pinned || p.target.HostKeyAlias != "" {
		return nil
	}
	byIP := p.target
	byIP.Address = tcp.IP.String()
	if lines, _ := p.hosts.keysOf(byIP.lookup()); len(lines) > 0 && !hasKey(lines, key) {
		return p.mismatch(key, lines)
	}
	return nil
}

// decideUnknown is for a host that nothing is known about.
func (p *hostKeyPolicy) decideUnknown(ctx context.Context, clock *patience, key ssh.PublicKey) error {
	if done, err := p.rememberedInThisRun(key); done {
		return err
	}
	fingerprint := ssh.FingerprintSHA256(key)
	switch {
	case slices.Contains(p.d.AcceptHostKeys, fingerprint):
		p.accept(key)
		return nil
	case p.target.Options.StrictHostKeyCheck == "yes":
		return p.unknown(key, errStrict)
	case p.target.Options.StrictHostKeyCheck == "accept-new":
		p.accept(key)
		p.d.notice(p.target, fmt.Sprintf("the host key was unknown and is now trusted, as StrictHostKeyChecking accept-new in ssh_config says: %s %s",
			key.Type(), fingerprint))
		return nil
	}
	yes, err := ask(ctx, p.d, p.target, clock, func(ctx context.Context, prompter Prompter) (bool, error) {
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

var errStrict = errors.New("StrictHostKeyChecking yes in ssh_config")

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
	p.accepted = true
	p.d.memory.trust(p.target.lookup(), key)
	if p.d.ForgetHostKeys {
		return
	}
	if err := p.d.record(p.target, key); err != nil {
		p.d.notice(p.target, fmt.Sprintf("the host key could not be recorded: %v", err))
	}
}

func (p *hostKeyPolicy) question(key ssh.PublicKey) HostKeyQuestion {
	return HostKeyQuestion{Name: p.target.name(), Address: p.target.Addr(), Type: key.Type(),
		Fingerprint: ssh.FingerprintSHA256(key), KnownAs: p.hosts.namesOf(key)}
}

// mismatchOnly is a policy that refuses any key, as differing from the known ones.
func (p *hostKeyPolicy) mismatchOnly() *hostKeyPolicy {
	return &hostKeyPolicy{d: p.d, target: p.target, known: p.known, algorithms: plainAlgorithms(), showOnly: true, hosts: p.hosts}
}
