package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keys are the SSH keys of all servers of one run and of the one who logs in.
type keys struct {
	hostPrivate, hostPublic string
	userPrivate, userPublic string
}

func newKeys() (k keys, err error) {
	if k.hostPrivate, k.hostPublic, err = newKey(); err != nil {
		return k, err
	}
	k.userPrivate, k.userPublic, err = newKey()
	return k, err
}

// newKey makes an ed25519 key as ssh-keygen writes it, and its public line.
func newKey() (private, public string, err error) {
	publicKey, privateKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	block, err := ssh.MarshalPrivateKey(privateKey, "")
	if err != nil {
		return "", "", err
	}
	line, err := ssh.NewPublicKey(publicKey)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line))), nil
}
