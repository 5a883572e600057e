package mage

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
)

// console lets package secrets talk to the person.
type console struct{ ui *term.UI }

func (c console) Interactive() bool              { return c.ui.Interactive() }
func (c console) Say(format string, args ...any) { c.ui.Info(format, args...) }

func (c console) Ask(ctx context.Context, question string) (string, error) {
	return c.ui.Line(ctx, question)
}

func (c console) AskHidden(ctx context.Context, question string) (string, error) {
	answer, err := c.ui.Password(ctx, question)
	return string(answer), err
}

func (s *session) askPassphrase(ctx context.Context, file string) (string, error) {
	answer, err := s.UI.Password(ctx, fmt.Sprintf("Passphrase of %s: ", file))
	return string(answer), err
}

// identities finds the age keys, and says so if they are everybody's.
func (s *session) identities(ctx context.Context) (*secrets.Identities, error) {
	ids, err := secrets.LoadIdentities(ctx, s.Dir, s.askPassphrase)
	if err == nil && ids.IsExample() {
		s.UI.Warn("using the public example key of %s, which protects nothing", ids.Source())
	}
	return ids, err
}

// declared are the secrets that nix/ asks for.
func (s *session) declared(ctx context.Context) ([]secrets.Declared, error) {
	flake, err := facts.ReadFlake(ctx, filepath.Join(s.Dir, "nix"), nil)
	if err != nil {
		return nil, err
	}
	return deploy.Declared(flake.Secrets), nil
}

// declaredOrWarn is for targets that are of use without knowing.
func (s *session) declaredOrWarn(ctx context.Context) []secrets.Declared {
	declared, err := s.declared(ctx)
	if err != nil {
		s.UI.Warn("what nix/ declares is not known: %v", err)
	}
	return declared
}
