package remote

import (
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// transport returns the algorithms that are offered for the connection itself.
// The library's defaults still have SHA-1 among them.
func transport(t Target) (ssh.Config, error) {
	sound := ssh.SupportedAlgorithms()
	macs := withoutSHA1(sound.MACs)
	c := ssh.Config{
		KeyExchanges: allowed(t.Options.KexAlgorithms, sound.KeyExchanges),
		Ciphers:      allowed(t.Options.Ciphers, sound.Ciphers),
		MACs:         allowed(t.Options.MACs, macs),
	}
	switch {
	case len(c.KeyExchanges) == 0:
		return c, noneLeft(t, "KexAlgorithms", t.Options.KexAlgorithms)
	case len(c.Ciphers) == 0:
		return c, noneLeft(t, "Ciphers", t.Options.Ciphers)
	case len(c.MACs) > 0:
		return c, nil
	}
	// Ciphers that authenticate by themselves need no MAC, and use none.
	c.MACs = macs
	c.Ciphers = slices.DeleteFunc(c.Ciphers, func(cipher string) bool {
		return !strings.Contains(cipher, "gcm") && !strings.Contains(cipher, "poly1305")
	})
	if len(c.Ciphers) == 0 {
		return c, noneLeft(t, "MACs", t.Options.MACs)
	}
	return c, nil
}

func withoutSHA1(algorithms []string) []string {
	return slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool {
		return a == ssh.KeyAlgoRSA || strings.HasPrefix(a, ssh.CertAlgoRSAv01) || strings.Contains(a, "sha1")
	})
}

// plainAlgorithms are the host key algorithms offered to a host that nothing is
// known about: no certificates, which nobody could verify, no SHA-1, and ed25519
// first, as in ssh.
func plainAlgorithms() []string {
	algos := []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	for _, a := range withoutSHA1(ssh.SupportedAlgorithms().HostKeys) {
		if !isCertAlgorithm(a) && !slices.Contains(algos, a) {
			algos = append(algos, a)
		}
	}
	return algos
}

func certAlgorithms() []string {
	return slices.DeleteFunc(withoutSHA1(ssh.SupportedAlgorithms().HostKeys), func(a string) bool { return !isCertAlgorithm(a) })
}

func isCertAlgorithm(a string) bool { return strings.Contains(a, "-cert-v01@") }

// algorithmsOf are those in which key can prove itself.
func algorithmsOf(key ssh.PublicKey) []string {
	switch key.Type() {
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	case ssh.CertAlgoRSAv01:
		return []string{ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01}
	}
	return []string{key.Type()}
}

// signatures are the algorithms in which key may sign a login, as the library
// names them: those of the key in a certificate.
func signatures(t Target, key ssh.PublicKey) []string {
	var algos []string
	for _, a := range allowed(t.Options.PubkeyAlgorithms, algorithmsOf(key)) {
		switch a {
		case ssh.CertAlgoRSASHA512v01:
			a = ssh.KeyAlgoRSASHA512
		case ssh.CertAlgoRSASHA256v01:
			a = ssh.KeyAlgoRSASHA256
		default:
			a = plainType(a)
		}
		algos = append(algos, a)
	}
	return algos
}

// plainType is the type of the key in a certificate of a type.
func plainType(algorithm string) string {
	plain, rest, ok := strings.Cut(algorithm, "-cert-v01")
	if !ok || strings.HasPrefix(plain, "sk-") {
		return plain + rest
	}
	return plain
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
	return appendMissing(algos, typesOf(plain)...)
}

// typesOf are the algorithms of known keys.
func typesOf(lines []hostLine) []string {
	var algos []string
	for _, l := range lines {
		algos = appendMissing(algos, algorithmsOf(l.key)...)
	}
	return algos
}

func appendMissing(list []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
