package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// VerifyCommit asks git whether a commit is signed with an SSH key that signers
// lists, in the format of ssh-keygen's allowed signers. Nothing else of the
// person's or the repository's configuration about signatures counts. It returns
// who signed it, as the list calls them.
func (r *Repo) VerifyCommit(ctx context.Context, commit string, signers []byte) (who string, err error) {
	if !fullHash.MatchString(commit) {
		return "", fmt.Errorf("%q is not the full hash of a git commit", commit)
	}
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		return "", errors.New("ssh-keygen, which checks signatures, is not installed")
	}
	dir, err := os.MkdirTemp("", "vps-signers-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	list := filepath.Join(dir, "allowed_signers")
	if err := os.WriteFile(list, signers, 0o600); err != nil {
		return "", err
	}
	_, said, err := r.OutputWith(ctx, []string{
		"gpg.ssh.allowedSignersFile=" + list, "gpg.ssh.program=" + keygen, "gpg.ssh.revocationFile=", "gpg.ssh.defaultKeyCommand=",
		"gpg.minTrustLevel=fully",
		// Signatures of other kinds are none that the list can vouch for.
		"gpg.program=false", "gpg.openpgp.program=false", "gpg.x509.program=false",
	}, "verify-commit", "--raw", commit)
	var failed *Error
	if errors.As(err, &failed) {
		return "", &NotSignedError{Commit: commit, Said: firstLine(failed.Stderr)}
	}
	if err != nil {
		return "", err
	}
	// Good "git" signature for alice@example.org with ED25519 key SHA256:…
	_, rest, good := strings.Cut(said, `Good "git" signature for `)
	who, _, named := strings.Cut(rest, " with ")
	if !good || !named {
		return "", &NotSignedError{Commit: commit, Said: firstLine(said)}
	}
	return who, nil
}

// NotSignedError is a commit without a signature that counts.
type NotSignedError struct {
	Commit string
	Said   string // by git; "" where there is no signature at all
}

func (e *NotSignedError) Error() string {
	if e.Said == "" {
		return fmt.Sprintf("commit %.12s is not signed", e.Commit)
	}
	return fmt.Sprintf("commit %.12s is not signed by anybody on the list: %s", e.Commit, e.Said)
}
