package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

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
	list    []offer
	skipped []string
}

// defaultKeys are the file names tried in ~/.ssh without explicit identities.
// The _sk ones can sign through an agent only.
var defaultKeys = [...]string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}

// offers collects the keys for t in the order in which they will be offered.
func (d *Dialer) offers(ctx context.Context, t Target) (*offers, error) {
	held, note := d.agentKeys(ctx, t)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("asking the SSH agent: %w", context.Cause(ctx))
	}
	o := &offers{}
	if note != "" {
		o.skipped = append(o.skipped, note)
	}
	for _, path := range t.Identities {
		if err := o.addExplicit(d, t, d.expand(path), held); err != nil {
			return nil, err
		}
	}
	if !t.IdentitiesOnly {
		for _, k := range held {
			o.add(offer{label: fmt.Sprintf("agent key %q", printable(k.comment, 80)), public: k.public, agent: &k})
		}
	}
	if len(t.Identities) == 0 {
		for _, name := range defaultKeys {
			o.addFile(d.memory.keyFile(filepath.Join(d.home(), ".ssh", name)), held)
		}
	}
	o.sort(t, d.memory.rank(t.account()))
	return o, nil
}

// addExplicit adds an identity that the user named: it must be usable, except
// that ssh's own defaults, which ssh -G lists as if they were named, may be absent.
func (o *offers) addExplicit(d *Dialer, t Target, path string, held []agentKey) error {
	k := d.memory.keyFile(path)
	if o.addFile(k, held) {
		return nil
	}
	if errors.Is(k.problem, fs.ErrNotExist) && filepath.Dir(path) == filepath.Join(d.home(), ".ssh") &&
		(slices.Contains(defaultKeys[:], filepath.Base(path)) || filepath.Base(path) == "id_xmss") {
		return nil
	}
	return &IdentityError{Name: t.name(), Path: path, Err: k.problem}
}

// addFile adds the key of a file, through the agent if that holds it, and tells
// whether it could.
func (o *offers) addFile(k *keyFile, held []agentKey) bool {
	label := k.path
	signer := offer{file: k}
	if i := slices.IndexFunc(held, func(h agentKey) bool { return sameKey(h.public, k.public) }); i >= 0 {
		label += " (agent)"
		signer = offer{agent: &held[i]}
	} else if k.problem != nil {
		if !errors.Is(k.problem, fs.ErrNotExist) {
			o.skipped = append(o.skipped, fmt.Sprintf("%s: %v", k.path, k.problem))
		}
		return false
	}
	if k.cert != nil {
		o.add(offer{label: label + " with its certificate", public: k.cert, agent: signer.agent, file: signer.file})
	}
	o.add(offer{label: label, public: k.public, agent: signer.agent, file: signer.file})
	return true
}

// add appends an offer unless the same key is on the list already.
func (o *offers) add(next offer) {
	if !slices.ContainsFunc(o.list, func(have offer) bool { return sameKey(have.public, next.public) }) {
		o.list = append(o.list, next)
	}
}

// sort puts the key first that the account accepted before. Without explicit
// identities, whose order is the user's, keys accepted elsewhere come next.
func (o *offers) sort(t Target, rank func(ssh.PublicKey) int) {
	slices.SortStableFunc(o.list, func(a, b offer) int {
		ra, rb := rank(a.public), rank(b.public)
		if len(t.Identities) > 0 {
			ra, rb = min(ra, 1), min(rb, 1)
		}
		return ra - rb
	})
}

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
