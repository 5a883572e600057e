package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
)

// finish makes the installed system one like any other of ours: pinned, updated,
// its store small.
func (b *installation) finish(ctx context.Context) (*Installed, error) {
	defer b.installed.close()
	h := b.installed.host
	if h.User != b.host.User {
		b.p.Log.Warn("%s: the new system lets %s in, not %s; write user: %s in vps.yaml", h.Name, h.User, b.host.User, h.User)
	}
	pinned, pinErr := b.pin(h)
	if err := b.remember(ctx, h); err != nil {
		b.p.Log.Warn("%s: %v", h.Name, err)
	}
	generation, err := b.update(ctx, h)
	if err != nil {
		return nil, err
	}
	b.optimise(ctx)
	done := &Installed{Host: h.Name, Login: next.Shell(loginWords(h)...).String(), Output: b.record.Output, Generation: generation,
		HostKey: fingerprint(h.HostKey), Pinned: pinned, Log: b.log}
	if pinErr != nil {
		return done, &Failure{Host: h.Name, Kind: Failed, Err: pinErr, Now: "the server is installed and up to date; its host key is not written down",
			Next: next.Say("correct that, then run: %s (it erases nothing)", b.command())}
	}
	b.forget()
	return done, nil
}

// update is the first update: it brings the tree, the record and the watchdog's
// unit, which the installer knows nothing of.
func (b *installation) update(ctx context.Context, h config.Host) (int, error) {
	generation, err := b.p.Update(ctx, b.dialer, h)
	var told interface {
		error
		State() string
		NextStep() next.Step
	}
	if errors.As(err, &told) {
		cause := err
		if inner := errors.Unwrap(err); inner != nil {
			cause = inner // without the host's name
		}
		err = &Failure{Host: h.Name, Kind: AsCause, Err: firstUpdateError{err, cause},
			Now: "NixOS is installed and answers; " + told.State(), Next: next.Say("%s; %s goes on from here and erases nothing", told.NextStep(), b.command())}
	}
	return generation, err
}

// optimise saves space. A server is no worse without it.
func (b *installation) optimise(ctx context.Context) {
	ctx, cancel := b.limits.within(ctx, limitOptimise)
	defer cancel()
	progress := b.p.Log.Progress(b.host.Name)
	defer progress.Close()
	line := progress.Host(b.host.Name)
	line.Phase("optimising the store")
	_, err := b.installed.askLong(ctx, b.installed.shell().Optimise())
	line.Done("store optimised", err)
	if err != nil {
		b.p.Log.Warn("%s: the store was not optimised, which only costs space: %v", b.host.Name, err)
	}
}

// loginWords is the command with which any ssh logs in.
func loginWords(h config.Host) []string {
	words := []string{"ssh", "-p", fmt.Sprint(h.Port)}
	if len(h.Identities) > 0 {
		words = append(words, "-i", h.Identities[0])
	}
	if len(h.Jumps) > 0 {
		var jumps []string
		for _, j := range h.Jumps {
			jumps = append(jumps, fmt.Sprintf("%s@%s", j.User, j.Addr()))
		}
		words = append(words, "-J", strings.Join(jumps, ","))
	}
	return append(words, h.User+"@"+h.Address)
}
