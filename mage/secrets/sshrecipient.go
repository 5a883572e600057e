package secrets

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
	"filippo.io/edwards25519"
	"golang.org/x/crypto/ssh"
)

// sops-nix decrypts with a server's SSH host key (sops.age.sshKeyPaths) by making an
// age key of it, as the program ssh-to-age does: the same secret, used on Curve25519
// in place of Ed25519. So the server's public key says to which recipient its files
// must be encrypted.

// SSHRecipient is the age recipient of an ed25519 SSH host key, which is given as a
// line of its .pub file.
func SSHRecipient(line string) (string, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return "", errors.New("not a public SSH key")
	}
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return "", fmt.Errorf("an SSH key of type %s has no age recipient", key.Type())
	}
	public, ok := crypto.CryptoPublicKey().(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("an SSH key of type %s has no age recipient", key.Type())
	}
	point, err := new(edwards25519.Point).SetBytes(public)
	if err != nil {
		return "", fmt.Errorf("not an ed25519 key: %w", err)
	}
	recipient := bech32("age", point.BytesMontgomery())
	if _, err := age.ParseX25519Recipient(recipient); err != nil {
		return "", fmt.Errorf("recipient of an SSH key: %w", err)
	}
	return recipient, nil
}

const bech32Letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// bech32 encodes bytes as BIP 173 does. age's own encoder is not exported.
func bech32(prefix string, data []byte) string {
	values := fives(data)
	sum := checksum(prefix, values)
	var out strings.Builder
	out.WriteString(prefix + "1")
	for _, value := range append(values, sum[:]...) {
		out.WriteByte(bech32Letters[value])
	}
	return out.String()
}

// fives are the bits of data in groups of five, padded with zeros.
func fives(data []byte) (out []byte) {
	var bits uint
	var rest uint32
	for _, b := range data {
		rest, bits = rest<<8|uint32(b), bits+8
		for bits >= 5 {
			bits -= 5
			out = append(out, byte(rest>>bits)&31)
		}
	}
	if bits > 0 {
		out = append(out, byte(rest<<(5-bits))&31)
	}
	return out
}

func checksum(prefix string, values []byte) (sum [6]byte) {
	var spread []byte
	for i := range len(prefix) {
		spread = append(spread, prefix[i]>>5)
	}
	spread = append(spread, 0)
	for i := range len(prefix) {
		spread = append(spread, prefix[i]&31)
	}
	state := uint32(1)
	for _, value := range append(append(spread, values...), sum[:]...) {
		top := state >> 25
		state = state&0x1ffffff<<5 ^ uint32(value)
		for i, generator := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				state ^= generator
			}
		}
	}
	state ^= 1
	for i := range sum {
		sum[i] = byte(state>>(5*(5-i))) & 31
	}
	return sum
}
