package vpstest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

func (s *Server) makeKeys() error {
	var err error
	if s.clientKey, err = s.newKeyFile(s.ClientKeyFile()); err != nil {
		return err
	}
	if s.strange, err = NewKey(); err != nil {
		return err
	}
	if s.hostKeys = s.config.hostKeys; len(s.hostKeys) == 0 {
		key, err := NewKey()
		s.hostKeys = []ssh.Signer{key}
		return err
	}
	return nil
}

// NewKey makes an ed25519 key.
func NewKey() (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(key)
}

func (s *Server) newKeyFile(path string) (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "vpstest")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(key)
}

// ClientKeyFile is the path of a private key (OpenSSH's format, no passphrase)
// that may log in.
func (s *Server) ClientKeyFile() string { return filepath.Join(s.base, "client", "id_ed25519") }

// ClientKey is the key in [Server.ClientKeyFile].
func (s *Server) ClientKey() ssh.Signer { return s.clientKey }

// HostKey is the public key that the server shows.
func (s *Server) HostKey() ssh.PublicKey { return s.hostKeys[0].PublicKey() }

// HostKeyLine is the host key as vps.yaml's hostKey has it: "ssh-ed25519 AAAA…".
func (s *Server) HostKeyLine() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.HostKey())))
}

// KnownHostsLine is the host key as a known_hosts file has it.
func (s *Server) KnownHostsLine() string {
	return "[127.0.0.1]:" + s.portText() + " " + s.HostKeyLine()
}

// mayLogIn: the client, who else a test lets in, and, as with sshd, who is in the
// home's authorized_keys.
func (s *Server) mayLogIn(key ssh.PublicKey) bool {
	keys := append([]ssh.PublicKey{s.clientKey.PublicKey()}, s.config.authorized...)
	rest, _ := os.ReadFile(s.Path(filepath.Join(s.home(), ".ssh/authorized_keys"))) // none: nobody
	for len(rest) > 0 {
		k, _, _, after, err := ssh.ParseAuthorizedKey(rest)
		if err != nil {
			break
		}
		keys, rest = append(keys, k), after
	}
	return slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) })
}
