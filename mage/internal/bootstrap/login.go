package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// login is a connection to one of the systems that a server runs in turn.
type login struct {
	dialer *remote.Dialer
	host   config.Host
	client *remote.Client
	port   int       // where the connection was made
	key    string    // the host key it was made with, in authorized_keys form
	root   run.Shell // how to become root there, once it is known not to be sudo
}

func (l *login) dial(ctx context.Context, port int) error {
	client, err := l.dialer.Dial(ctx, l.target(port))
	if err != nil {
		return err
	}
	l.client, l.port = client, port
	return nil
}

// dialKnown is dial to a system that must show one of these keys. It is asked for
// the first; if it has none of that type, it shows another, which may be one of
// them, too.
func (l *login) dialKnown(ctx context.Context, port int, keys []string) error {
	l.key = keys[0]
	err := l.dial(ctx, port)
	var mismatch *remote.HostKeyMismatchError
	if !errors.As(err, &mismatch) {
		return err
	}
	for _, key := range keys[1:] {
		if slices.Contains(strings.Fields(mismatch.Got), fingerprint(key)) {
			l.key = key
			return l.dial(ctx, port)
		}
	}
	return err
}

// target is the host on a port. Once a host key was verified, every later login
// is bound to it.
func (l *login) target(port int) remote.Target {
	t := l.host.Target
	t.Port = port
	if l.key != "" {
		t.HostKey = l.key
	}
	return t
}

func (l *login) close() {
	if l != nil && l.client != nil {
		_ = l.client.Close()
	}
}

// shell says how to become root there.
func (l *login) shell() run.Shell { return cmp.Or(l.root, run.ShellOf(l.host.User)) }

// askAsRoot is ask where it is not known yet by which program the login becomes root.
func (l *login) askAsRoot(ctx context.Context, question func(run.Shell) run.Command) ([]byte, error) {
	out, first := l.ask(ctx, question(l.shell()))
	var exit *remote.ExitError
	for shell, more := l.shell().Other(); errors.As(first, &exit) && more; shell, more = shell.Other() {
		if out, err := l.ask(ctx, question(shell)); err == nil {
			l.root = shell
			return out, nil
		}
	}
	return out, first
}

const (
	answerLimit = 2 * time.Minute
	maxAnswer   = 1 << 20 // bytes
)

// ask runs a short command and gives what it printed.
func (l *login) ask(ctx context.Context, c run.Command) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, &deadlineError{
		fmt.Sprintf("the server did not answer within %v, though the connection is up", answerLimit),
		next.Words("look at the server on its provider's console: it may be overloaded, or its disk broken"),
	})
	defer cancel()
	return l.askLong(ctx, c)
}

// askLong is ask for a command whose deadline is the context's.
func (l *login) askLong(ctx context.Context, c run.Command) ([]byte, error) {
	return l.client.Output(ctx, c.Line, strings.NewReader(c.Stdin), maxAnswer)
}

// askFailure sorts the failure of a command that changes nothing.
func (l *login) askFailure(doing string, err error) error {
	f := &Failure{Host: l.host.Name, Kind: Failed, Err: fmt.Errorf("%s: %w", doing, err), Now: asItWas}
	var exit *remote.ExitError
	switch {
	case errors.Is(err, remote.ErrLost), errors.As(err, new(*deadlineError)):
		f.Kind = Unreachable
	case errors.Is(err, remote.ErrTooMuchOutput):
		f.Next = next.Words("log in and look what its shell prints at login")
	case errors.As(err, &exit) && l.shell() != run.Shell{}:
		f.Next = next.Say("let %s use sudo without a password (or doas, or run0) there, or log in as root", l.host.User)
	}
	return f
}
