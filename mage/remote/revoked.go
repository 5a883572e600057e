package remote

import (
	"bytes"
	"crypto/sha1" // #nosec G505 -- KRLs may name keys by it
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"

	"golang.org/x/crypto/ssh"
)

// krlMagic begins a key revocation list as `ssh-keygen -k` writes it. The format
// is OpenSSH's PROTOCOL.krl.
const krlMagic = "SSHKRL\n\x00"

// Sections of a KRL, and of its part about one authority's certificates.
const (
	krlCertificates = 1
	krlExplicitKeys = 2
	krlSHA1         = 3
	krlSignature    = 4
	krlSHA256       = 5

	krlSerials   = 0x20
	krlRange     = 0x21
	krlBitmap    = 0x22
	krlKeyIDs    = 0x23
	krlExtension = 0x39
	krlFuture    = 255
)

var errKRL = errors.New("not a key revocation list that can be read")

// revocation is the content of RevokedHostKeys.
type revocation struct {
	keys   map[string]bool // whole keys, and the hashes of others
	sha1   map[string]bool
	sha256 map[string]bool
	certs  []revokedCerts
}

// revokedCerts are certificates of one authority, or of any.
type revokedCerts struct {
	authority []byte // empty: of any
	ranges    [][2]uint64
	bitmaps   []serialBitmap
	ids       []string
}

type serialBitmap struct {
	offset uint64
	bits   *big.Int
}

// readRevocation reads RevokedHostKeys: a KRL, or public keys one a line.
func readRevocation(file string) (*revocation, error) {
	f, err := openRegular(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKnownHosts))
	if err != nil {
		return nil, err
	}
	r := &revocation{keys: map[string]bool{}, sha1: map[string]bool{}, sha256: map[string]bool{}}
	if bytes.HasPrefix(data, []byte(krlMagic)) {
		return r, r.parseKRL(data)
	}
	for line := range bytes.Lines(data) {
		if key, _, _, _, err := ssh.ParseAuthorizedKey(line); err == nil {
			r.keys[string(key.Marshal())] = true
		}
	}
	return r, nil
}

// has tells whether a key, the key in a certificate, the certificate or the
// authority that signed it is revoked.
func (r *revocation) has(key ssh.PublicKey) bool {
	cert, isCert := key.(*ssh.Certificate)
	if !isCert {
		return r.hasBlob(key.Marshal())
	}
	return r.hasBlob(cert.Marshal()) || r.hasBlob(cert.Key.Marshal()) || r.hasBlob(cert.SignatureKey.Marshal()) ||
		slices.ContainsFunc(r.certs, func(c revokedCerts) bool { return c.has(cert) })
}

func (r *revocation) hasBlob(blob []byte) bool {
	one, two := sha1.Sum(blob), sha256.Sum256(blob)
	return r.keys[string(blob)] || r.sha1[string(one[:])] || r.sha256[string(two[:])]
}

func (c revokedCerts) has(cert *ssh.Certificate) bool {
	if len(c.authority) > 0 && !bytes.Equal(c.authority, cert.SignatureKey.Marshal()) {
		return false
	}
	if slices.Contains(c.ids, cert.KeyId) {
		return true
	}
	if cert.Serial == 0 {
		return false // an authority that numbers nothing: serials mean nothing
	}
	return slices.ContainsFunc(c.ranges, func(r [2]uint64) bool { return r[0] <= cert.Serial && cert.Serial <= r[1] }) ||
		slices.ContainsFunc(c.bitmaps, func(b serialBitmap) bool {
			at := cert.Serial - b.offset
			return cert.Serial >= b.offset && at < uint64(b.bits.BitLen()) && b.bits.Bit(int(at)) == 1
		})
}

// parseKRL reads the binary form. What it does not know is an error: a list that
// is only half understood would let revoked keys in.
func (r *revocation) parseKRL(data []byte) error {
	rest := krlReader(data[len(krlMagic):])
	if version := rest.uint32(); version != 1 {
		return fmt.Errorf("%w: format version %d", errKRL, version)
	}
	rest.take(8 + 8 + 8)    // its number, date and flags
	rest.text()             // reserved
	if rest.text() == nil { // comment
		return errKRL
	}
	for len(rest) > 0 {
		kind, section := rest.byte(), rest.text()
		if section == nil {
			return errKRL
		}
		if kind == krlSignature { // the key that signed; the signature has no section
			if rest.text() == nil {
				return errKRL
			}
			continue
		}
		if err := r.section(kind, section); err != nil {
			return err
		}
	}
	return nil
}

func (r *revocation) section(kind byte, section krlReader) error {
	into := map[byte]map[string]bool{krlExplicitKeys: r.keys, krlSHA1: r.sha1, krlSHA256: r.sha256}[kind]
	switch {
	case into != nil:
		for len(section) > 0 {
			blob := section.text()
			if blob == nil {
				return errKRL
			}
			into[string(blob)] = true
		}
		return nil
	case kind == krlCertificates:
		c := revokedCerts{authority: section.text()}
		if c.authority == nil || section.text() == nil { // reserved
			return errKRL
		}
		for len(section) > 0 {
			kind, part := section.byte(), section.text()
			if err := c.section(kind, part); err != nil {
				return err
			}
		}
		r.certs = append(r.certs, c)
		return nil
	case kind == krlFuture:
		return extension(section)
	}
	return fmt.Errorf("%w: section %d", errKRL, kind)
}

func (c *revokedCerts) section(kind byte, part krlReader) error {
	if part == nil {
		return errKRL
	}
	switch kind {
	case krlSerials:
		for len(part) > 0 {
			serial, ok := part.uint64()
			if !ok {
				return errKRL
			}
			c.ranges = append(c.ranges, [2]uint64{serial, serial})
		}
	case krlRange:
		first, _ := part.uint64()
		last, ok := part.uint64()
		if !ok {
			return errKRL
		}
		c.ranges = append(c.ranges, [2]uint64{first, last})
	case krlBitmap:
		offset, _ := part.uint64()
		bits := part.text()
		if bits == nil {
			return errKRL
		}
		c.bitmaps = append(c.bitmaps, serialBitmap{offset, new(big.Int).SetBytes(bits)})
	case krlKeyIDs:
		for len(part) > 0 {
			id := part.text()
			if id == nil {
				return errKRL
			}
			c.ids = append(c.ids, string(id))
		}
	case krlExtension:
		return extension(part)
	default:
		return fmt.Errorf("%w: certificate section %d", errKRL, kind)
	}
	return nil
}

// extension passes over what says that it may be: name, critical, contents.
func extension(part krlReader) error {
	name, critical := part.text(), part.byte()
	if name == nil || critical != 0 {
		return fmt.Errorf("%w: extension %q", errKRL, printable(string(name), 40))
	}
	return nil
}

// krlReader takes SSH's wire types off the front of itself. What is cut short
// gives zero values, nil of a text, and leaves nothing.
type krlReader []byte

func (r *krlReader) take(n int) []byte {
	if n < 0 || n > len(*r) {
		*r = nil
		return nil
	}
	head := (*r)[:n:n]
	*r = (*r)[n:]
	return head
}

func (r *krlReader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *krlReader) uint32() uint32 {
	if b := r.take(4); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *krlReader) uint64() (uint64, bool) {
	if b := r.take(8); len(b) == 8 {
		return binary.BigEndian.Uint64(b), true
	}
	return 0, false
}

// text is a string with its length before it; not nil when it is empty.
func (r *krlReader) text() krlReader {
	if len(*r) < 4 {
		*r = nil
		return nil
	}
	if b := r.take(int(r.uint32())); b != nil {
		return b
	}
	return nil
}
