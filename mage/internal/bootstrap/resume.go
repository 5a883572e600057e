package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/next"
)

// installedPhase is what a record says once the container has done its part.
var installedPhase = InstallerDone.String()

// resume finds out whether an earlier run got as far as the new system, which
// proves itself by the host key that was made for it. Then nothing is wiped.
func (b *installation) resume(ctx context.Context) error {
	if b.record == nil {
		return nil
	}
	b.p.Log.Info("%s: an install of %s got as far as: %s", b.host.Name, b.record.Since.Local().Format("2006-01-02 15:04"), b.record.Phase)
	if !b.record.phase().Installed() {
		// It may have got further than it could say.
		if l, err := b.arrival().once(ctx); err == nil {
			b.installed = l
		}
		return nil
	}
	l, err := b.waiting(ctx, "waiting for the system that was installed")
	switch {
	case err == nil:
		b.installed = l
		return nil
	case errors.Is(err, errStays):
		b.p.Log.Warn("%s: %v", b.host.Name, err)
		return b.restart(ctx)
	}
	return b.arrivalFailure(err)
}

// refuseInstalled: the new system is complete on the disk, and yet another system
// runs: perhaps a rescue system, from which the disk is going to be repaired. Only
// somebody who types the name erases it.
func (b *installation) refuseInstalled() error {
	b.erasesInstalled = true
	if !b.o.Yes {
		return nil // the consent says it
	}
	return &Failure{Host: b.host.Name, Kind: Unknown, Now: "the new system is on the disk; nothing was changed",
		Err: fmt.Errorf("NixOS was installed on this server, but it runs %q", b.facts.OS),
		Next: next.Say("restart it from its disk in the provider's console, then run: %s; or, to erase what was installed, remove %s first",
			b.command(), b.recordPath())}
}

// restart orders the reboot that a killed installer did not come to: the new
// system is complete on the disk, and the server still runs the installer.
func (b *installation) restart(ctx context.Context) error {
	if err := b.look(ctx); err != nil {
		return err
	}
	defer b.link.close()
	if !b.facts.Installer {
		return b.refuseInstalled()
	}
	b.p.Log.Info("%s: the new system is installed, and the installer still runs: restarting the server", b.host.Name)
	if _, err := b.link.ask(ctx, b.link.shell().Reboot()); err != nil {
		return b.link.askFailure("restart the server", err)
	}
	l, err := b.waiting(ctx, "waiting for the system that was installed")
	if err != nil {
		return b.arrivalFailure(err)
	}
	b.installed = l
	return nil
}
