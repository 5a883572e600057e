package remote

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// keysOf returns the lines with plain keys of a host, and whether an authority
// vouches for it.
func (h *knownHosts) keysOf(lookup string) (plain []hostLine, byAuthority bool) {
	var all *xknownhosts.KeyError
	if err := h.match(lookup, nowhere, noKey{}); !errors.As(err, &all) {
		return nil, false
	}
	for _, k := range all.Want {
		i, ok := h.at[fmt.Sprintf("%s:%d", k.Filename, k.Line)]
		switch {
		case !ok:
		case h.lines[i].marker == markerAuthority:
			byAuthority = true
		default:
			plain = append(plain, h.lines[i])
		}
	}
	return plain, byAuthority
}

// certified tells whether key is a valid certificate, for this host, of an
// authority in known_hosts.
func (h *knownHosts) certified(lookup string, key ssh.PublicKey) bool {
	_, isCert := key.(*ssh.Certificate)
	return isCert && h.match(lookup, nowhere, key) == nil
}

// revoked finds the line that revokes a key, the key in a certificate, or the
// authority that signed it.
func (h *knownHosts) revoked(key ssh.PublicKey) (hostLine, bool) {
	bad := []ssh.PublicKey{plainKey(key)}
	if cert, ok := key.(*ssh.Certificate); ok {
		bad = append(bad, plainKey(cert.SignatureKey))
	}
	i := slices.IndexFunc(h.lines, func(l hostLine) bool {
		return l.marker == markerRevoked &&
			slices.ContainsFunc(bad, func(k ssh.PublicKey) bool { return sameKey(plainKey(l.key), k) })
	})
	if i < 0 {
		return hostLine{}, false
	}
	return h.lines[i], true
}

// namesOf lists under which other names a key is known, a few of them.
func (h *knownHosts) namesOf(key ssh.PublicKey) []string {
	var names []string
	for _, l := range h.lines {
		if l.marker == "" && sameKey(l.key, key) && len(names) < 5 {
			names = append(names, l.name())
		}
	}
	return names
}

func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// nowhere stands for the server's address, which known_hosts is not asked about.
var nowhere net.Addr = &net.TCPAddr{IP: net.IPv4zero}

// noKey matches no line, so that the answer lists all lines for a host.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("not a key") }

// recordName is how known_hosts writes t: host, or [host]:port off the default port.
func recordName(t Target) string { return knownhosts.Normalize(t.lookup()) }
