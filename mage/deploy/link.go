package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// link is a host with a connection to it that may be replaced when it drops.
type link struct {
	run.Link
	p       *Project
	session *run.Session // that takes orders, if one is open
	host    config.Host
	client  *remote.Client // the first connection
	key     string         // the host key it was made with, in authorized_keys form
}

// connect logs in on the declared port; if that refuses, on the port where the
// host answered last, with the same host key rules.
func (p *Project) connect(ctx context.Context, h config.Host) (*link, error) {
	l := p.linkTo(h)
	if err := p.confirmPin(ctx, h); err != nil {
		return nil, err
	}
	err := l.dial(ctx, h.Port)
	var unreachable *remote.UnreachableError
	if last := p.loadState(h).Port; errors.As(err, &unreachable) && last != 0 && last != h.Port {
		if again := l.dial(ctx, last); again == nil {
			p.log.Warn("%s does not answer on port %d; using port %d, where it answered last", h.Name, h.Port, last)
			err = nil
		}
	}
	if err != nil {
		return nil, p.unfinished(h, connectFailure(h.Name, err))
	}
	l.key = l.client.HostKeyLine()
	p.rememberPort(h, l.At())
	return l, nil
}

// linkTo is a link without a connection.
func (p *Project) linkTo(h config.Host) *link {
	l := &link{p: p, host: h}
	l.Name, l.Port, l.Jumps, l.Bounds = h.Name, h.Port, len(h.Jumps), p.bounds
	l.Shell = run.ShellOf(h.User)
	l.Login = func(ctx context.Context, port int) (run.Conn, error) {
		client, err := l.login(ctx, port)
		if err != nil {
			return nil, err
		}
		return client, nil
	}
	return l
}

func (l *link) dial(ctx context.Context, port int) error {
	client, err := l.login(ctx, port)
	if err != nil {
		return err
	}
	l.client = client
	l.Use(client, port)
	return nil
}

// login makes a connection of its own. Once a host key was verified, every later
// login of this link is bound to it, and the next command knows the key on that
// port, too.
func (l *link) login(ctx context.Context, port int) (*remote.Client, error) {
	client, err := l.p.Dialer.Dial(ctx, l.target(port))
	if err == nil && l.key != "" && port != l.At() && l.host.HostKey == "" {
		t := l.host.Target
		t.Port = port
		if err := l.p.Dialer.RecordHostKeys(t, l.key); err != nil {
			l.p.log.Warn("%s: the host key could not be recorded for port %d: %v", l.host.Name, port, err)
		}
	}
	return client, err
}

func (l *link) target(port int) remote.Target {
	t := l.host.Target
	t.Port = port
	if l.key != "" {
		t.HostKey = l.key
	}
	return t
}

// facts asks for the server's facts.
func (l *link) facts(ctx context.Context, q run.FactsQuery) (run.Facts, error) {
	facts, err := l.Facts(ctx, q)
	return facts, l.lookFailure(err)
}

// open is facts by a shell that then takes orders. The session must be stopped, if
// there is no error.
func (l *link) open(ctx context.Context, q run.FactsQuery) (*run.Session, run.Facts, error) {
	s, facts, err := l.Open(ctx, q)
	return s, facts, l.lookFailure(err)
}

// treeFile reads a file of the server's /etc/nixos, by the open session if there is one.
func (l *link) treeFile(ctx context.Context, path string) ([]byte, error) {
	if l.session != nil {
		return l.session.File(ctx, path)
	}
	return l.Ask(ctx, l.Shell.ReadTreeFile(path))
}

// lookFailure sorts the failure of looking at the server.
func (l *link) lookFailure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*run.ParseError)):
		return &Failure{Host: l.Name, Code: CodeFailed, Err: err, Now: asItWas}
	}
	return l.askFailure("", err)
}

// askFailure sorts the failure of a command that changes nothing.
func (l *link) askFailure(doing string, err error) error {
	if doing != "" {
		err = fmt.Errorf("%s: %w", doing, err)
	}
	f := &Failure{Host: l.Name, Code: CodeFailed, Err: err, Now: asItWas}
	var exit *remote.ExitError
	switch {
	case errors.Is(err, remote.ErrLost), errors.As(err, new(*run.SilentError)):
		f.Code = CodeUnreachable
	case errors.Is(err, remote.ErrTooMuchOutput):
		f.Next = next.Words("log in and look what its shell prints at login")
	case errors.As(err, &exit) && l.Shell.Root != "":
		f.Next = next.Say("let %s use sudo without a password (or doas, or run0) there, or log in as root", l.host.User)
	}
	return f
}
