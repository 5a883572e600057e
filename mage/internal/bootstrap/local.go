package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/secrets"
)

// checkProject checks what would be installed, before anything is asked of
// anybody else.
func (b *installation) checkProject(ctx context.Context) (err error) {
	if b.pre, err = b.p.Prepare(ctx); err != nil {
		return err
	}
	for _, w := range b.pre.Warnings {
		b.p.Log.Warn("%s", w)
	}
	for _, check := range []func(context.Context) error{b.checkLock, b.checkKey} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *installation) checkLock(context.Context) error {
	if !b.pre.Locked {
		return &Failure{Kind: Usage, Now: "nothing was changed", Next: next.Target("lock"),
			Err: errors.New("nix/flake.lock is missing: it pins the installer and all that is installed")}
	}
	return nil
}

// checkKey: the key that the server gets opens secrets.yaml, and .sops.yaml names
// it.
func (b *installation) checkKey(ctx context.Context) error {
	if _, err := secrets.Verify(ctx, b.p.Dir, b.pre.Identities); err != nil {
		return usage(err)
	}
	return nil
}

// checkEngine asks whether the container engine answers.
func (b *installation) checkEngine(ctx context.Context) error {
	if err := b.engine.Ping(ctx); err != nil {
		return &Failure{Kind: Failed, Err: err, Now: "nothing was changed"}
	}
	return nil
}

// stopLeftovers ends what a killed client of this project left running for this
// host. Its install key and phase are in the record. Another project's containers
// are left alone, whatever their host is called.
func (b *installation) stopLeftovers(ctx context.Context) error {
	left, err := b.engine.FindByLabel(ctx, container.LabelHost, b.host.Name)
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
	}
	for _, c := range left {
		if c.Project != b.project {
			continue
		}
		b.p.Log.Info("stopping %s, which an earlier bootstrap left running", c.Name)
		if err := b.engine.Stop(ctx, c.ID, 10*time.Second); err != nil {
			return &Failure{Host: b.host.Name, Kind: Failed, Err: err,
				Now: "an installer may still be at work on the server", Next: next.Say("stop the container, then run: %s", b.command())}
		}
	}
	return nil
}

// refuseOther: another project, or the same one under another name of the server, is
// installing this server through the same engine.
func (b *installation) refuseOther(ctx context.Context) error {
	for _, key := range append([]string{b.link.key}, b.facts.HostKeys...) {
		others, err := b.engine.FindByLabel(ctx, container.LabelServer, fingerprint(key))
		if err != nil {
			return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
		}
		for _, c := range others {
			return &Failure{Host: b.host.Name, Kind: Busy, Now: "that install goes on; nothing was changed",
				Err:  fmt.Errorf("%s is installing this server, in the container %q", cmp.Or(c.Who, "somebody"), c.Name),
				Next: next.Say("wait for it; or, if nobody needs it, stop it (%s), then run: %s", next.Shell(cmp.Or(b.engine.Program, "docker"), "rm", "--force", c.Name), b.command())}
		}
	}
	return nil
}

// getImage makes sure that the engine has the image.
func (b *installation) getImage(ctx context.Context) error {
	image := b.p.Config.Install.Image
	ok, err := b.engine.HasImage(ctx, image)
	if ok {
		return nil
	}
	if err == nil {
		progress := b.p.Log.Progress(b.host.Name)
		defer progress.Close()
		line := progress.Host(b.host.Name)
		line.Phase("downloading " + image)
		ctx, cancel := b.limits.within(ctx, limitImage)
		defer cancel()
		err = b.engine.Pull(ctx, image, line)
		line.Done("", err)
	}
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
	}
	return nil
}
