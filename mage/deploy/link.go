package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// link is a host with a connection to it that may be replaced when it drops.
type link struct {
	p      *Project
	host   config.Host
	client *remote.Client
	port   int    // where the connection was made
	key    string // the host key it was made with, in authorized_keys form
}

// connect logs in on the declared port; if that refuses, on the port where the
// host answered last, with the same host key rules.
func (p *Project) connect(ctx context.Context, h config.Host) (*link, error) {
	l := &link{p: p, host: h}
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
		return nil, connectFailure(h.Name, err)
	}
	l.key = l.client.HostKeyLine()
	p.rememberPort(h, l.port)
	return l, nil
}

func (l *link) dial(ctx context.Context, port int) error {
	client, err := l.login(ctx, port)
	if err != nil {
		return err
	}
	l.client, l.port = client, port
	return nil
}

// login makes a connection of its own. Once a host key was verified, every later
// login of this link is bound to it, and the next command knows the key on that
// port, too.
func (l *link) login(ctx context.Context, port int) (*remote.Client, error) {
	client, err := l.p.Dialer.Dial(ctx, l.target(port))
	if err == nil && l.key != "" && port != l.port && l.host.HostKey == "" {
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

func (l *link) close() {
	if l != nil && l.client != nil {
		_ = l.client.Close()
	}
}

// prepare opens, side by side, what a run needs: so many sessions for commands, and
// SFTP for the archive. One after the other they would cost round trips.
func (l *link) prepare(ctx context.Context, commands int) {
	for range commands {
		l.client.Prepare(ctx)
	}
	l.client.PrepareSFTP(ctx)
}

// shell says how to become root there.
func (l *link) shell() run.Shell {
	return run.Shell{Sudo: l.host.User != "" && l.host.User != "root"}
}

// Answers of a server are read to this size: a manifest of some ten thousand
// files fits.
const maxAnswer = 16 << 20

// ask runs a short command and gives what it printed.
func (l *link) ask(ctx context.Context, c run.Command) ([]byte, error) {
	ctx, cancel := within(ctx, l.p.bounds.answerWithin(), "answer")
	defer cancel()
	return l.askLong(ctx, c)
}

// askLong is ask for a command whose deadline is the context's.
func (l *link) askLong(ctx context.Context, c run.Command) ([]byte, error) {
	return l.client.Output(ctx, c.Line, strings.NewReader(c.Stdin), maxAnswer)
}

func (l *link) facts(ctx context.Context, q run.FactsQuery) (run.Facts, error) {
	out, err := l.ask(ctx, l.shell().Facts(q))
	return l.parseFacts(out, err)
}

// factsFirst is facts by a shell that may then start a run. The sight must be
// stopped, if there is no error.
func (l *link) factsFirst(ctx context.Context, q run.FactsQuery) (*sight, run.Facts, error) {
	s := l.open(ctx)
	patient, cancel := within(ctx, l.p.bounds.answerWithin(), "answer")
	defer cancel()
	facts, err := l.parseFacts(s.ask(patient, l.shell().Facts(q).Stdin))
	if err != nil {
		s.stop()
		return nil, facts, err
	}
	return s, facts, nil
}

func (l *link) parseFacts(out []byte, err error) (run.Facts, error) {
	if err != nil {
		return run.Facts{}, l.askFailure("look at the server", err)
	}
	facts, err := run.ParseFacts(bytes.NewReader(out))
	if err != nil {
		return facts, &Failure{Host: l.host.Name, Code: CodeFailed, Err: err, Now: asItWas}
	}
	return facts, nil
}

// askFailure sorts the failure of a command that changes nothing.
func (l *link) askFailure(doing string, err error) error {
	f := &Failure{Host: l.host.Name, Code: CodeFailed, Err: fmt.Errorf("%s: %w", doing, err), Now: asItWas}
	var exit *remote.ExitError
	switch {
	case errors.Is(err, remote.ErrLost), errors.As(err, new(*silentError)):
		f.Code = CodeUnreachable
	case errors.Is(err, remote.ErrTooMuchOutput):
		f.Next = next.Words("log in and look what its shell prints at login")
	case errors.As(err, &exit) && l.shell().Sudo:
		f.Next = next.Say("let %s use sudo without a password there, or log in as root", l.host.User)
	}
	return f
}
