package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/secrets"
)

// Project is what workflows work on: a folder with nix/ and secrets/, and the
// hosts that it is deployed to.
type Project struct {
	Dir    string
	Dialer *remote.Dialer // how hosts are reached

	// Who and From name the person and the machine, for others to read when a
	// server is busy.
	Who, From string

	// Getenv looks up variables that lead to age keys; nil is os.Getenv.
	Getenv func(name string) string

	config   *config.Config
	resolver resolver
	log      *observe.Log
	bounds   run.Bounds

	installerPort int // where a server listens while it runs bootstrap's installer; 0 is 22

	// allowExample lets the public example key be deployed, in tests.
	allowExample bool
}

// resolver turns what a person typed into hosts. [config.Resolver] does.
type resolver interface {
	Resolve(ctx context.Context, arg string) ([]config.Host, error)
	ResolveOne(ctx context.Context, arg string) (config.Host, error)
}

// Open reads the project in dir, and tells o what its workflows do; nil hears
// nothing and decides nothing. Its errors are about vps.yaml.
func Open(dir string, o Observer) (*Project, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, usage(err)
	}
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, usage(err)
	}
	resolver, err := config.NewResolver(cfg)
	if err != nil {
		return nil, usage(err)
	}
	p := &Project{Dir: dir, config: cfg, resolver: resolver, log: logTo(o), Who: "unknown", From: "unknown"}
	p.Dialer = newDialer(p.log)
	if u, err := user.Current(); err == nil {
		p.Who = u.Username
	}
	if name, err := os.Hostname(); err == nil {
		p.From = name
	}
	return p, nil
}

// hosts resolves HOSTS.
func (p *Project) hosts(ctx context.Context, arg string) ([]config.Host, error) {
	hosts, err := p.resolver.Resolve(ctx, arg)
	if err != nil {
		return nil, usage(err)
	}
	return hosts, nil
}

// host resolves a HOST that must be one.
func (p *Project) host(ctx context.Context, arg string) (config.Host, error) {
	h, err := p.resolver.ResolveOne(ctx, arg)
	if err != nil {
		return h, usage(err)
	}
	return h, nil
}

// identities gives the age identities of this laptop.
func (p *Project) identities(ctx context.Context) (*secrets.Identities, error) {
	return secrets.Sources{Dir: p.Dir, Getenv: p.Getenv, Ask: func(ctx context.Context, file string) (string, error) {
		secret, err := p.log.Password(ctx, fmt.Sprintf("Passphrase of %s: ", file))
		return string(secret), err
	}}.Load(ctx)
}

// newDialer logs in with the help of whoever is at the terminal.
func newDialer(log *observe.Log) *remote.Dialer {
	return &remote.Dialer{Prompter: prompter{log}, Notice: func(host, text string) { log.Info("%s: %s", host, text) }}
}

// prompter lets SSH ask on the terminal.
type prompter struct{ log *observe.Log }

func (p prompter) Passphrase(ctx context.Context, what string) ([]byte, error) {
	secret, err := p.log.Password(ctx, fmt.Sprintf("Passphrase of %s: ", what))
	return secret, noTerminal(err)
}

func (p prompter) TrustHostKey(ctx context.Context, q remote.HostKeyQuestion) (bool, error) {
	p.log.Info("%s (%s) shows a host key that is not known here:\n  %s %s", q.Name, q.Address, q.Type, q.Fingerprint)
	for _, other := range q.KnownAs {
		p.log.Info("  the same key is known as %s", other)
	}
	ok, err := p.log.Confirm(ctx, "Is that the fingerprint that the server itself, or your provider, shows?")
	return ok, noTerminal(err)
}

// Answer asks what the server wants to know beside a key.
func (p prompter) Answer(ctx context.Context, c remote.Challenge) ([]string, error) {
	p.log.Info("%s asks, to log in as %s: %s", c.Name, c.User, c.Text)
	var answers []string
	for _, q := range c.Questions {
		answer, err := p.answer(ctx, q)
		if err != nil {
			return nil, noTerminal(err)
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

func (p prompter) answer(ctx context.Context, q remote.Question) (string, error) {
	text := strings.TrimRight(q.Text, " ") + " "
	if q.Echo {
		return p.log.Line(ctx, text)
	}
	secret, err := p.log.Password(ctx, text)
	return string(secret), err
}

func noTerminal(err error) error {
	if errors.Is(err, observe.ErrNobody) {
		return fmt.Errorf("%w: %w", remote.ErrNoTerminal, err)
	}
	return err
}
