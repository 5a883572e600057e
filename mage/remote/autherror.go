package remote

import (
	"errors"
	"fmt"
	"strings"
)

// AuthError reports that the server was reached and verified but no key let us in.
type AuthError struct {
	Name, Addr, User string
	Tried            []string // keys that the server was offered
	Skipped          []string // keys that could not be offered or used, and why
	Methods          []string // what the server accepts
	TooMany          bool     // the server ended the login: its MaxAuthTries was reached
	Banner           string   // what the server said, made printable
	Err              error
}

func (e *AuthError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "logging in to %s as %s (%s): %s", e.Name, e.User, e.Addr, e.reason())
	if len(e.Tried) > 0 {
		fmt.Fprintf(&b, "; offered: %s", strings.Join(e.Tried, ", "))
	}
	if len(e.Skipped) > 0 {
		fmt.Fprintf(&b, "; not used: %s", strings.Join(e.Skipped, ", "))
	}
	if e.Banner != "" {
		fmt.Fprintf(&b, "; the server says: %s", e.Banner)
	}
	return b.String()
}

func (e *AuthError) reason() string {
	switch {
	case e.TooMany:
		return fmt.Sprintf("the server allows no more tries after %d keys", len(e.Tried))
	case errors.Is(e.Err, errNoPublicKeys):
		return fmt.Sprintf("the server does not accept public keys (only %s)", strings.Join(e.Methods, ", "))
	case errors.Is(e.Err, errNoKeysLeft) && len(e.Tried) == 0:
		return "there is no key to offer"
	case errors.Is(e.Err, errNoKeysLeft):
		return "no key was accepted"
	default:
		return printable(e.Err.Error(), maxErrorText)
	}
}

// Unwrap returns the cause.
func (e *AuthError) Unwrap() error { return e.Err }

// Hint is the next thing to do.
func (e *AuthError) Hint() string {
	skipped := strings.Join(e.Skipped, "\n")
	switch {
	case e.TooMany:
		return "name the right key as identity in vps.yaml, or in ~/.ssh/config with IdentitiesOnly yes"
	case strings.Contains(skipped, errWrongPassphrase.Error()):
		return "run again with the right passphrase, or add the key to an agent with ssh-add"
	case strings.Contains(skipped, ErrNoTerminal.Error()):
		return "add the key to an agent with ssh-add, or run this on a terminal"
	case strings.Contains(skipped, "lets others read it"):
		return "chmod 600 the private key"
	case errors.Is(e.Err, errNoPublicKeys):
		return "set PubkeyAuthentication yes in the server's sshd_config"
	default:
		return fmt.Sprintf("add your public key to ~%s/.ssh/authorized_keys on the server, or name the right one as identity", e.User)
	}
}
