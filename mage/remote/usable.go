package remote

import (
	"context"

	"golang.org/x/crypto/ssh"
)

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
