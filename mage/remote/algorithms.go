package remote

import (
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// plainAlgorithms are the host key algorithms offered to a host that nothing is
// known about: no certificates, which nobody could verify, no SHA-1, and ed25519
// first, as in ssh.
func plainAlgorithms() []string {
	algos := []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	for _, a := range ssh.SupportedAlgorithms().HostKeys {
		if !isCertAlgorithm(a) && !slices.Contains(algos, a) {
			algos = append(algos, a)
		}
	}
	return algos
}

func certAlgorithms() []string {
	return slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys, func(a string) bool { return !isCertAlgorithm(a) })
}

func isCertAlgorithm(a string) bool { return strings.Contains(a, "-cert-v01@") }

// algorithmsOf are those in which key can prove itself.
func algorithmsOf(key ssh.PublicKey) []string {
	if key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{key.Type()}
}

// hostKeyAlgorithms limits a host to what is known for it: certificates if an
// authority vouches for it, the types of its plain keys, anything plain if there
// are none.
func hostKeyAlgorithms(plain []hostLine, byAuthority bool) []string {
	var algos []string
	if byAuthority {
		algos = certAlgorithms()
	}
	if len(plain) == 0 {
		return append(algos, plainAlgorithms()...)
	}
	for _, l := range plain {
		for _, a := range algorithmsOf(l.key) {
			if !slices.Contains(algos, a) {
				algos = append(algos, a)
			}
		}
	}
	return algos
}
