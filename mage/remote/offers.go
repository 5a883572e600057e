package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// offer is one key that may be shown to a server.
type offer struct {
	label  string
	public ssh.PublicKey // a key or certificate; nil when only the passphrase reveals it
	agent  *agentKey     // signs when set
	file   *keyFile      // signs otherwise
}

// offers is the list of keys for one login, and why others are not on it.
type offers struct {
	target  Target
	held    []agentKey // what the agent has
	list    []offer
	skipped []string
}

// defaultKeys are the file names tried in ~/.ssh without explicit identities, in
// ssh's order. The _sk ones can sign through an agent only.
var defaultKeys = [...]string{"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"}

// PublicKeys are the keys that a login to t would offer, so that a caller can
// tell beforehand whether a server will let us in. sealed says that there is
// another one whose public half only its passphrase reveals.
func (d *Dialer) PublicKeys(ctx context.Context, t Target) (keys []ssh.PublicKey, sealed bool, err error) {
	offers, err := d.offers(ctx, t)
	if err != nil {
		return nil, false, err
	}
	for _, offer := range offers.list {
		if offer.public == nil {
			sealed = true
			continue
		}
		keys = append(keys, plainKey(offer.public))
	}
	return keys, sealed, nil
}

// offers collects the keys for t in the order in which they will be offered. It is
// ssh's, because servers allow a few tries only: certificates that were named, keys
// of the agent that are identities as well, the agent's others, and last the
// identities that are nowhere but in their files. An identity that must be usable
// goes before the agent's others: it was named for this host.
func (d *Dialer) offers(ctx context.Context, t Target) (*offers, error) {
	held, note := d.agentKeys(ctx, t)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("asking the SSH agent: %w", context.Cause(ctx))
	}
	o := &offers{target: t, held: held}
	if note != "" {
		o.skipped = append(o.skipped, note)
	}
	files, err := o.identities(d)
	if err != nil {
		return nil, err
	}
	for _, path := range t.Certificates {
		o.addCertificate(d.expand(path), files)
	}
	var both, rest []offer
	for i := range held {
		if at := slices.IndexFunc(files, func(f offer) bool { return sameKey(f.public, held[i].public) }); at >= 0 {
			both = append(both, withCertificate(files, at)...)
		} else if !t.IdentitiesOnly {
			rest = append(rest, offer{label: fmt.Sprintf("agent key %q", printable(held[i].comment, 80)), public: held[i].public, agent: &held[i]})
		}
	}
	if len(t.Identities) > 0 && !t.SkipUnusable {
		both, files = files, nil
	}
	for _, next := range slices.Concat(both, rest, files) {
		o.add(next)
	}
	o.sort(d.memory.rank(t.account()))
	return o, nil
}

// withCertificate returns files[at], and before it the certificate beside it.
func withCertificate(files []offer, at int) []offer {
	if at > 0 && files[at-1].file == files[at].file && files[at].file != nil {
		return files[at-1 : at+1]
	}
	return files[at : at+1]
}

// identities are the keys that are named, or else the usual ones.
func (o *offers) identities(d *Dialer) (list []offer, err error) {
	if isNone(o.target.Identities) {
		return nil, nil
	}
	if len(o.target.Identities) == 0 {
		for _, name := range defaultKeys {
			more, _ := o.fromFile(d.memory.keyFile(filepath.Join(d.home(), ".ssh", name)))
			list = append(list, more...)
		}
		return list, nil
	}
	for _, path := range o.target.Identities {
		if strings.EqualFold(path, None) {
			continue
		}
		k := d.memory.keyFile(d.expand(path))
		more, usable := o.fromFile(k)
		if !usable && !o.target.SkipUnusable {
			return nil, &IdentityError{Name: o.target.name(), Path: k.path, Err: k.problem}
		}
		list = append(list, more...)
	}
	return list, nil
}

// fromFile gives the key of a file, through the agent if that holds it, and its
// certificate, and tells whether it could.
func (o *offers) fromFile(k *keyFile) (list []offer, usable bool) {
	signer := offer{file: k, label: k.path}
	if held := o.heldKey(k.public); held != nil {
		signer.agent = held
		signer.label += " (agent)"
	} else if k.problem != nil {
		if !errors.Is(k.problem, fs.ErrNotExist) {
			o.skipped = append(o.skipped, fmt.Sprintf("%s: %v", k.path, k.problem))
		}
		return nil, false
	}
	if k.cert != nil && len(o.target.Certificates) == 0 {
		certified := signer
		certified.label += " with its certificate"
		certified.public = k.cert
		list = append(list, certified)
	}
	signer.public = k.public
	return append(list, signer), true
}

// heldKey finds a key in the agent; nil if it is not there.
func (o *offers) heldKey(key ssh.PublicKey) *agentKey {
	for i := range o.held {
		if sameKey(o.held[i].public, key) {
			return &o.held[i]
		}
	}
	return nil
}

// addCertificate adds a certificate that is named by itself: with the agent that
// holds it or its key, or the identity that it is for.
func (o *offers) addCertificate(path string, files []offer) {
	cert, err := readCertificate(path)
	if err != nil {
		o.skipped = append(o.skipped, fmt.Sprintf("certificate %s: %v", path, err))
		return
	}
	next := offer{label: "certificate " + path, public: cert}
	at := slices.IndexFunc(files, func(f offer) bool { return sameKey(f.public, cert.Key) })
	switch held := cmpOr(o.heldKey(cert), o.heldKey(cert.Key)); {
	case held != nil:
		next.agent = held
	case at >= 0:
		next.file = files[at].file
	default:
		o.skipped = append(o.skipped, next.label+": no identity and no key of the agent is the one that it is for")
		return
	}
	o.add(next)
}

func cmpOr[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// add appends an offer unless the same key is on the list already, or may not be
// used.
func (o *offers) add(next offer) {
	if slices.ContainsFunc(o.list, func(have offer) bool { return sameKey(have.public, next.public) }) {
		return
	}
	if next.public != nil {
		if why := forbiddenKey(o.target, next.public); why != "" {
			o.skipped = append(o.skipped, next.label+": "+why)
			return
		}
	}
	o.list = append(o.list, next)
}

// forbiddenKey says why ssh_config keeps a key of ours from being used; "" if it
// does not.
func forbiddenKey(t Target, key ssh.PublicKey) string {
	if cert, ok := key.(*ssh.Certificate); ok && cert.CertType != ssh.UserCert {
		return "not a user's certificate"
	}
	if bits := tooShort(t, key); bits > 0 {
		return fmt.Sprintf("%d bits, fewer than RequiredRSASize", bits)
	}
	if len(signatures(t, key)) == 0 {
		return "PubkeyAcceptedAlgorithms of ssh_config excludes " + key.Type()
	}
	return ""
}

// sort puts the key first that the account accepted before. Without explicit
// identities, whose order is the user's, keys accepted elsewhere come next.
func (o *offers) sort(rank func(ssh.PublicKey) int) {
	slices.SortStableFunc(o.list, func(a, b offer) int {
		ra, rb := rank(a.public), rank(b.public)
		if len(o.target.Identities) > 0 {
			ra, rb = min(ra, 1), min(rb, 1)
		}
		return ra - rb
	})
}
