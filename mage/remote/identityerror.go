package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// IdentityError reports a key, named by the user, that cannot be used.
type IdentityError struct {
	Name string // the host it was for
	Path string
	Err  error
}

func (e *IdentityError) Error() string {
	if errors.Is(e.Err, fs.ErrNotExist) {
		return fmt.Sprintf("identity %q for %s does not exist", e.Path, e.Name)
	}
	reason := e.Err.Error()
	if pathErr := new(fs.PathError); errors.As(e.Err, &pathErr) {
		reason = pathErr.Err.Error()
	}
	return fmt.Sprintf("identity %q for %s cannot be used: %s", e.Path, e.Name, reason)
}

// Unwrap returns the cause.
func (e *IdentityError) Unwrap() error { return e.Err }

// Hint is the next thing to do.
func (e *IdentityError) Hint() string {
	var perms *permissionsError
	switch {
	case errors.As(e.Err, &perms):
		return "chmod 600 " + shellPath(e.Path)
	case errors.Is(e.Err, errPublicOnly), errors.Is(e.Err, errHardware):
		return "add the private key to the agent with ssh-add"
	default:
		return "correct the identity in vps.yaml or IdentityFile in ~/.ssh/config"
	}
}

// shellPath quotes a path only where it needs it.
func shellPath(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return strings.ContainsRune(" \t'\"\\$`*?[]{}()<>|&;!#~", r) }) {
		return Quote(path)
	}
	return path
}
