package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

const sshKeyName = "ssh-public-key"

// sshKey finds the public key that may log in: the one given, or a default one
// after asking. Empty means later.
func (b *beginning) sshKey(ctx context.Context) (string, error) {
	if b.SSHKey != "" {
		b.Console.Say("the SSH key of %s may log in", b.SSHKey)
		return readPublicKey(b.SSHKey)
	}
	if !b.Console.Interactive() {
		return "", nil
	}
	home := b.Home
	if home == "" {
		home, _ = os.UserHomeDir() // none: no key is found there
	}
	for _, name := range []string{"id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"} {
		path := filepath.Join(home, ".ssh", name)
		text, err := readPublicKey(path)
		if err != nil {
			continue
		}
		yes, err := b.askKey(ctx, path, text)
		if err != nil || yes {
			return text, err
		}
	}
	return "", nil
}

func (b *beginning) askKey(ctx context.Context, path, text string) (bool, error) {
	keys, err := parsePublicKeys([]byte(text))
	if err != nil {
		return false, err
	}
	answer, err := b.Console.Ask(ctx, fmt.Sprintf("May the SSH key of %s log in to the servers (%s)? yes or no: ", path, ssh.FingerprintSHA256(keys[0])))
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "yes" || answer == "y", err
}

func readPublicKey(path string) (string, error) {
	text, err := ReadValueFile(path)
	if err != nil {
		return "", err
	}
	if _, err := parsePublicKeys([]byte(text)); err != nil {
		return "", fail(err, "Name a file with an SSH public key, such as ~/.ssh/id_ed25519.pub.", "reading the SSH public key %q", path)
	}
	return strings.TrimSpace(text), nil
}

// parsePublicKeys reads the format of authorized_keys and wants every line to
// be right: sshd skips a wrong one, and with it perhaps the only key.
func parsePublicKeys(data []byte) ([]ssh.PublicKey, error) {
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, errors.New("this is a private key")
	}
	var out []ssh.PublicKey
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, errors.New("holds a line that is not an SSH public key")
		}
		out = append(out, key)
	}
	if len(out) == 0 {
		return nil, errors.New("holds no SSH public key")
	}
	return out, nil
}
