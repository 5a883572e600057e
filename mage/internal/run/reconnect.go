package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
func (f *Follower) patience() time.Duration {
	margin := f.link.Bounds.rollbackMargin()
	switch f.last.Phase {
	case PhaseSwitching:
		return f.limits.Switch + f.limits.Confirm + margin
	case PhaseSwitched, PhaseConfirming, PhaseCommitting, PhaseRollingBack, PhaseRebooting:
		return f.limits.Confirm + f.limits.Switch + margin
	}
	return max(reconnectBuild, f.limits.Switch)
}

// reconnect replaces a dropped connection by one to the port that answers.
func (f *Follower) reconnect(ctx context.Context) error {
	f.link.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, f.patience(), fmt.Errorf("%s did not answer within %v", f.link.Name, f.patience()))
	defer cancel()
	conn, port, err := f.newLogin(ctx, f.ports())
	if errors.Is(err, errBanned) {
		conn, port, err = f.sitOut(ctx)
	}
	if err != nil {
		return err
	}
	f.link.Use(conn, port)
	return nil
}

// sitOut waits until the watchdog has rolled back, and tries one login more.
func (f *Follower) sitOut(ctx context.Context) (Conn, int, error) {
	f.story.now("no login works; waiting for the watchdog")
	if err := pause(ctx, f.limits.Confirm+sitOutMargin); err != nil {
		return nil, 0, err
	}
	f.logins.Store(maxLogins - 1)
	return f.newLogin(ctx, f.ports())
}

// ports are where the server may answer: as the new system says, as declared, or as
// it was.
func (f *Follower) ports() []int {
	return unique(append(slices.Clone(f.built.Ports), f.link.Port, f.link.At()))
}

// newPorts are where the new system must let us in. It says so itself: where Nix does
// not, the host is looked for, too, where it is declared and where it is now.
func (f *Follower) newPorts(built Built) []int {
	if took, ok := f.link.forwarded(); ok {
		// The new system's ports are those on the far side of what forwards ours.
		if slices.Contains(built.Ports, took) {
			return []int{f.link.At()}
		}
		return unique(append([]int{f.link.At(), f.link.Port}, built.Ports...))
	}
	switch {
	case slices.Contains(built.Ports, f.link.Port):
		return []int{f.link.Port}
	case built.Sure && len(built.Ports) > 0:
		return unique(slices.Clone(built.Ports))
	}
	return unique(append(slices.Clone(built.Ports), f.link.Port, f.link.At()))
}

// Port is where the new system let us in, or 0.
func (f *Follower) Port() int { return int(f.port.Load()) }

// Built is what the new system said of itself.
func (f *Follower) Built() Built { return f.built }

// unique drops what is no port, and what comes a second time.
func unique(ports []int) []int {
	var list []int
	for _, p := range ports {
		if p > 0 && p < 1<<16 && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// newLogin tries until a login works. A port that does not answer costs the
// server nothing; a login that it refuses is counted.
func (f *Follower) newLogin(ctx context.Context, ports []int) (Conn, int, error) {
	wait := NewBackoff()
	var last error
	ports = slices.Clone(ports)
	for {
		for _, port := range slices.Clone(ports) {
			conn, err := f.tryLogin(ctx, port)
			if err == nil {
				return conn, port, nil
			}
			last = err
			var mismatch *remote.HostKeyMismatchError
			if errors.As(err, &mismatch) {
				// Another machine answers there: a router, say, on a port that we only
				// thought possible. It is not asked again.
				ports = slices.DeleteFunc(ports, func(p int) bool { return p == port })
			}
			if len(ports) == 0 || errors.Is(err, errBanned) {
				return nil, 0, err
			}
		}
		if err := pause(ctx, wait.afterTry(last, f.link.Jumps)); err != nil {
			return nil, 0, errors.Join(err, last)
		}
	}
}

func (f *Follower) tryLogin(ctx context.Context, port int) (Conn, error) {
	conn, err := f.link.Login(ctx, port)
	var refusedLogin *remote.AuthError
	if errors.As(err, &refusedLogin) {
		if f.logins.Add(1) >= maxLogins {
			return nil, errors.Join(errBanned, err)
		}
	}
	return conn, err
}
