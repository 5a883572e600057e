package bootstrap

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// keyPair is an ed25519 SSH key that exists in memory only.
type keyPair struct {
	private []byte // as ssh-keygen writes it, without a passphrase
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
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	return keyPair{private: pem.EncodeToMemory(block), public: line + " " + comment}, nil
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

// newKeys makes the two pairs of an install: the one that the installer logs in
// with, and the new system's host key.
func newKeys(run, host string) (install, hostKey keyPair, err error) {
	if install, err = newKeyPair("vps-install-" + run); err != nil {
		return install, hostKey, fmt.Errorf("make the install key: %w", err)
	}
	if hostKey, err = newKeyPair(host); err != nil {
		return install, hostKey, fmt.Errorf("make the host key: %w", err)
	}
	return install, hostKey, nil
}

// newRun names a run: sorted by time, and never the same twice.
func newRun(now time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return strings.ReplaceAll(now.UTC().Format("20060102T150405.000Z"), ".", "") + "-" + hex.EncodeToString(b[:])
}
