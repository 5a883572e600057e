package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/remote"
)

var (
	// errStays: the system before still answers, so no reboot comes.
	errStays = errors.New("the system before still answers: it did not restart")
	// errRefused: the new system lets none of our keys in.
	errRefused = errors.New("the new system refuses every login")
)

// maxLogins is how many refused logins are enough: fail2ban counts them, too.
const maxLogins = 3

// stayLimit is how long the old system may go on answering after it was told to
// restart.
const stayLimit = 45 * time.Second

// arrival is the wait for the new system.
type arrival struct {
	b      *installation
	host   config.Host // with the new host key
	users  []string    // to try
	logins int
	stays  time.Time // since when the old system answers
}

func (b *installation) arrival() *arrival {
	a := &arrival{b: b, host: b.newHost(), users: []string{b.host.User}}
	if b.host.User != "root" { // who had sudo on the old system need not exist on the new one
		a.users = append(a.users, "root")
	}
	return a
}

// wait logs in to the new system as soon as it answers. Until then it asks for
// TCP only: fail2ban may be there before we are.
func (a *arrival) wait(ctx context.Context) (*login, error) {
	ctx, cancel := a.b.limits.within(ctx, limitBoot)
	defer cancel()
	pace := backoff{}
	for {
		l, err := a.once(ctx)
		if l != nil {
			return l, nil
		}
		if over := a.over(ctx, err); over != nil {
			return nil, over
		}
		if end := pace.wait(ctx); end != nil {
			return nil, errors.Join(end, err)
		}
	}
}

// once tries the declared port with the new host key.
func (a *arrival) once(ctx context.Context) (*login, error) {
	l := &login{dialer: a.b.dialer, host: a.host, key: a.host.HostKey}
	if err := a.b.dialer.Probe(ctx, l.target(a.host.Port)); err != nil {
		return nil, err
	}
	var last error
	for _, user := range a.users {
		l.host.User = user
		last = l.dial(ctx, a.host.Port)
		if last == nil {
			return l, nil
		}
		if !errors.As(last, new(*remote.AuthError)) {
			return nil, last
		}
		if a.logins++; a.logins >= maxLogins {
			return nil, errors.Join(errRefused, last)
		}
	}
	return nil, last
}

// over says whether waiting longer makes no sense.
func (a *arrival) over(ctx context.Context, err error) error {
	var mismatch *remote.HostKeyMismatchError
	switch {
	case errors.Is(err, errRefused):
		return err
	case errors.As(err, &mismatch):
		if !a.old(mismatch) {
			return err
		}
	case !a.oldAnswers(ctx):
		a.stays = time.Time{}
		return nil
	}
	if a.stays.IsZero() {
		a.stays = time.Now()
	}
	if time.Since(a.stays) > stayLimit {
		return errors.Join(errStays, err)
	}
	return nil
}

// old says whether the key that was shown is one of the system before.
func (a *arrival) old(e *remote.HostKeyMismatchError) bool {
	return slices.ContainsFunc(a.b.record.OldKeys, func(key string) bool { return slices.Contains(strings.Fields(e.Got), fingerprint(key)) })
}

// oldAnswers says whether something listens where the system before did.
func (a *arrival) oldAnswers(ctx context.Context) bool {
	t := a.b.host.Target
	t.Port = a.b.firstPort()
	return t.Port != a.host.Port && a.b.dialer.Probe(ctx, t) == nil
}

// awaitInstalled waits for the system that was just installed.
func (b *installation) awaitInstalled(ctx context.Context) error {
	b.link.close()
	b.record.Phase = installedPhase
	if err := b.save(); err != nil {
		b.p.Log.Warn("%v", err)
	}
	l, err := b.waiting(ctx, "waiting for the new system")
	if err != nil {
		return b.arrivalFailure(err)
	}
	b.installed = l
	return nil
}

func (b *installation) waiting(ctx context.Context, what string) (*login, error) {
	progress := b.p.Log.Progress(b.host.Name)
	defer progress.Close()
	line := progress.Host(b.host.Name)
	line.Phase(fmt.Sprintf("%s on port %d", what, b.host.Port))
	l, err := b.arrival().wait(ctx)
	b.told(line, err)
	return l, err
}

func (b *installation) told(line *observe.Line, err error) {
	if err == nil {
		line.Done("answers with the host key made for it", nil)
		return
	}
	line.Done("", err)
}

// arrivalFailure sorts the ways in which a new system does not arrive. The
// outcome is open in all of them.
func (b *installation) arrivalFailure(err error) error {
	f := &Failure{Host: b.host.Name, Kind: Unknown, Err: err,
		Now: fmt.Sprintf("the new system is on the disk; nothing answered as it on port %d", b.host.Port)}
	var mismatch *remote.HostKeyMismatchError
	switch {
	case errors.Is(err, errStays):
		f.Now = "the new system is on the disk, but the one before still runs"
		f.Next = next.Say("restart the server in the provider's console, then run: %s", b.command())
	case errors.As(err, &mismatch):
		f.Err = fmt.Errorf("what answers on port %d is not the system that was installed: %w", b.host.Port, mismatch)
		f.Now = "the new system is on the disk; what answers shows another host key, and nothing was sent to it"
		f.Next = next.Say("look at the server in the provider's console: is it at this address, and what did it start? Then run: %s%s", b.command(), b.anew())
	case errors.Is(err, errRefused):
		f.Now = "the new system is there, with the right host key"
		f.Next = next.Say("look at the server's console whether sops-nix could decrypt ssh-public-key (%s), then run: %s", next.Shell("journalctl", "-b"), b.command())
	case errors.Is(err, context.Canceled):
		f.Err = fmt.Errorf("interrupted while waiting for the new system: %w", err)
		f.Next = next.Say("%s goes on waiting", b.command())
	default:
		f.Next = next.Say("look at the server in the provider's console: does it start, and from this disk? Then run: %s%s", b.command(), b.anew())
	}
	return f
}

// anew says how to give an installed system up that will never answer.
func (b *installation) anew() string {
	return "; or give it up: start another system there, remove " + b.recordPath() + " and bootstrap again"
}

// backoff waits between tries: short at first, at most two seconds.
type backoff struct{ last time.Duration }

func (b *backoff) wait(ctx context.Context) error {
	b.last = min(max(2*b.last, 50*time.Millisecond), 2*time.Second)
	timer := time.NewTimer(b.last/2 + rand.N(b.last))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
