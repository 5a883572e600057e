package mage

import (
	"context"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/next"
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
	ids, err := secrets.Sources{Dir: s.Dir, Getenv: getenv, Ask: s.askPassphrase}.Load(ctx)
	if err == nil && ids.IsExample() {
		s.UI.Warn("using the public example key of %s, which protects nothing", ids.Source())
	}
	return ids, err
}

// declared are the secrets that nix/ asks for, as the last evaluation had them.
func (s *session) declared(ctx context.Context) ([]secrets.Declared, error) {
	list, asOf, err := s.DeclaredSecrets(ctx)
	if err == nil && !asOf.IsZero() {
		s.UI.Warn("what nix/ declares is as of %s; %s finds out what changed since", asOf.Local().Format("2006-01-02 15:04"), next.Target("check"))
	}
	return list, err
}

// declaredOrWarn is for targets that are of use without knowing.
func (s *session) declaredOrWarn(ctx context.Context) []secrets.Declared {
	declared, err := s.declared(ctx)
	if err != nil {
		s.UI.Warn("%v", err)
	}
	return declared
}
