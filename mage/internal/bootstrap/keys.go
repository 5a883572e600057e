package bootstrap

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// keyPair is an ed25519 SSH key without a passphrase.
type keyPair struct {
	private []byte // as ssh-keygen writes it
	public  string // one line, with the comment
}

func newKeyPair(comment string) (keyPair, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return keyPair{}, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{private: pem.EncodeToMemory(block), public: lineOf(key) + " " + comment}, nil
}

// parseKeyPair reads the private half of a key that newKeyPair made.
func parseKeyPair(private []byte) (keyPair, error) {
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{private: private, public: lineOf(signer.PublicKey())}, nil
}

// lineOf is a public key as authorized_keys has it.
func lineOf(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// bare is a public key's line without its comment.
func bare(line string) string {
	words := strings.Fields(line)
	return strings.Join(words[:min(2, len(words))], " ")
}

// fingerprint is that of a public key's line, "" if it is none.
func fingerprint(line string) string {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}

// newRun names a run: sorted by time, and never the same twice.
func newRun(now time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return strings.ReplaceAll(now.UTC().Format("20060102T150405.000Z"), ".", "") + "-" + hex.EncodeToString(b[:])
}
