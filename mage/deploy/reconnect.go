package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

const (
	// maxLogins is how often a login may fail in one run: fail2ban counts five,
	// and sshd penalises addresses that keep failing.
	maxLogins = 3
	// A build goes on without us for as long as it takes; somebody who closed the
	// laptop for lunch should still see its end.
	reconnectBuild = 15 * time.Minute
	// What the watchdog's switch back takes, as a rule.
	sitOutMargin = 15 * time.Second
)

var errBanned = errors.New("three logins failed; more would get this address banned")

// patience is how long a lost link is worth waiting for: past it, the run has
// ended one way or the other without us.
func (f *follower) patience() time.Duration {
	margin := f.link.p.bounds.rollbackMargin()
	switch f.last.Phase {
	case run.PhaseSwitching:
		return f.limit + f.confirm + margin
	case run.PhaseSwitched, run.PhaseConfirming, run.PhaseCommitting, run.PhaseRollingBack, run.PhaseRebooting:
		return f.confirm + f.limit + margin
	}
	return max(reconnectBuild, f.limit)
}

// reconnect replaces a dropped connection by one to the port that answers.
func (f *follower) reconnect(ctx context.Context) error {
	f.link.close()
	ctx, cancel := context.WithTimeoutCause(ctx, f.patience(), fmt.Errorf("%s did not answer within %v", f.link.host.Name, f.patience()))
	defer cancel()
	client, port, err := f.newLogin(ctx, f.ports())
	if errors.Is(err, errBanned) {
		client, port, err = f.sitOut(ctx)
	}
	if err != nil {
		return err
	}
	f.link.client, f.link.port = client, port
	return nil
}

// sitOut waits until the watchdog has rolled back, and tries one login more.
func (f *follower) sitOut(ctx context.Context) (*remote.Client, int, error) {
	f.line.Phase("no login works; waiting for the watchdog")
	if err := pause(ctx, f.confirm+sitOutMargin); err != nil {
		return nil, 0, err
	}
	f.logins.Store(maxLogins - 1)
	return f.newLogin(ctx, f.ports())
}

// ports are where the server may answer: as declared, or as it was.
func (f *follower) ports() []int {
	if f.link.port == f.link.host.Port {
		return []int{f.link.port}
	}
	return []int{f.link.host.Port, f.link.port}
}

// newLogin tries until a login works. A port that does not answer costs the
// server nothing; a login that it refuses is counted.
func (f *follower) newLogin(ctx context.Context, ports []int) (*remote.Client, int, error) {
	wait := newBackoff()
	var last error
	for {
		for _, port := range ports {
			client, err := f.tryLogin(ctx, port)
			if err == nil {
				return client, port, nil
			}
			last = err
			var mismatch *remote.HostKeyMismatchError
			if errors.As(err, &mismatch) || errors.Is(err, errBanned) {
				return nil, 0, err
			}
		}
		if err := pause(ctx, wait.afterTry(last, len(f.link.host.Jumps))); err != nil {
			return nil, 0, errors.Join(err, last)
		}
	}
}

func (f *follower) tryLogin(ctx context.Context, port int) (*remote.Client, error) {
	client, err := f.link.login(ctx, port)
	var refusedLogin *remote.AuthError
	if errors.As(err, &refusedLogin) {
		if f.logins.Add(1) >= maxLogins {
			return nil, errors.Join(errBanned, err)
		}
	}
	return client, err
}
