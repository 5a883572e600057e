package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
)

// install wipes the server and puts the new system on it.
func (b *installation) install(ctx context.Context) error {
	run := strings.ToLower(newRun(time.Now()))
	key, hostKey, err := newKeys(run, b.host.Name)
	if err != nil {
		return usage(err)
	}
	route, err := b.route(ctx)
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
	}
	defer route.close()
	in := b.plan(run, route)
	payload := container.Payload{
		Tree: b.pre.Tree, InstallKey: key.private, KnownKeys: []string{b.link.key},
		AgeKey:  b.pre.Identities.Only(b.pre.Report.Recipients).KeyFile(),
		HostKey: hostKey.private, HostKeyPublic: []byte(hostKey.public + "\n"),
	}
	archive, err := in.Archive(payload)
	if err != nil {
		return usage(err)
	}
	spec, err := in.Spec(archive)
	if err != nil {
		return usage(err)
	}
	b.record = &installRecord{
		Run: run, Phase: InstallerPreparing.String(), Output: b.output, HostKey: bare(hostKey.public),
		OldKey: b.link.key, InstallKey: bare(key.public), User: b.link.host.User, Since: time.Now(),
	}
	if err := b.save(); err != nil {
		return err
	}
	if err := b.authorise(ctx, key.public); err != nil {
		return err
	}
	err = b.run(ctx, spec, payload)
	return b.ended(ctx, err)
}

// plan is the container's job, in plain values.
func (b *installation) plan(run string, r *route) container.Install {
	c := b.p.Config.Install
	in := container.Install{
		Job:   container.Job{Run: "vps-" + run, Host: b.host.Name, Image: c.Image, Network: r.network},
		Flake: b.output, User: b.link.host.User, Address: r.address, Port: r.port, KexecPort: r.kexecPort, BuildOn: b.buildOn(),
	}
	if c.Kexec != nil {
		in.Kexec = container.Kexec{URL: c.Kexec.URL, SHA256: c.Kexec.SHA256}
	}
	return in
}

// authorise lets the install key in, over the person's own login: no key, agent
// or passphrase of theirs enters a container.
func (b *installation) authorise(ctx context.Context, key string) error {
	ctx, cancel := b.limits.within(ctx, limitAuthorise)
	defer cancel()
	if _, err := b.link.ask(ctx, b.link.shell().Authorize(b.link.host.User, key)); err != nil {
		_ = b.unauthorise(ctx)
		return b.link.askFailure("authorise the install key", err)
	}
	return nil
}

// unauthorise takes the install key back, over the old login if it lives, else
// over a new one to the same system or to the installer.
func (b *installation) unauthorise(ctx context.Context) error {
	// Mage leaves five seconds after Ctrl-C, and the container had its share.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	l := b.link
	if l.client.Err() != nil {
		again := *l
		if err := again.dial(ctx, l.port); err != nil {
			again.host.User = "root"
			if err := again.dial(ctx, 22); err != nil {
				return err
			}
		}
		defer again.close()
		l = &again
	}
	_, err := l.ask(ctx, l.shell().Unauthorize(l.host.User, b.record.InstallKey))
	return err
}

// run runs the installer's container and shows how it goes.
func (b *installation) run(ctx context.Context, spec container.RunSpec, payload container.Payload) error {
	log, err := b.openLog()
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: fmt.Errorf("open the log: %w", err), Now: asItWas, Next: next.Words("make .vps/ writable")}
	}
	defer func() { _ = log.Close() }()
	progress := b.p.Log.Progress(b.host.Name)
	defer progress.Close()
	line := progress.Host(b.host.Name)
	line.Phase(InstallerPreparing.String())
	watched, watcher := InstallerWatch{
		Deadlines: b.limits.installer,
		Secrets:   []string{string(payload.AgeKey), string(payload.InstallKey), string(payload.HostKey)},
		Log:       log,
		Progress:  b.progress(line),
	}.Start(ctx)
	err = b.engine.Run(watched, spec, watcher.Stdout(), watcher.Stderr())
	err = watcher.Finish(watched, err)
	line.Done("installed", err)
	if lost := watcher.LogError(); lost != nil {
		b.p.Log.Warn("the log %s is not complete: %v", b.log, lost)
	}
	return err
}

// progress shows phases and output, and records each phase as it begins.
func (b *installation) progress(line *observe.Line) func(InstallerProgress) {
	now := InstallerPreparing
	return func(p InstallerProgress) {
		if p.Phase != now {
			now = p.Phase
			b.record.Phase = now.String()
			if err := b.save(); err != nil {
				b.p.Log.Warn("%v", err)
			}
			line.Phase(now.String())
		}
		line.Output([]byte(p.Line + "\n"))
	}
}

func (b *installation) openLog() (*os.File, error) {
	dir := filepath.Join(b.p.Dir, ".vps", "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	b.log = filepath.Join(dir, "bootstrap-"+config.FileNameOf(b.host.Name)+"-"+b.record.Run+".log")
	return os.OpenFile(b.log, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// ended sorts the end of the container.
func (b *installation) ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	phase := b.record.phase()
	if !phase.Wiped() {
		if gone := b.unauthorise(ctx); gone != nil {
			b.p.Log.Warn("%s: the throw-away install key could not be removed (%v); the next bootstrap does it, or delete the line with vps-install-%s from authorized_keys there",
				b.host.Name, gone, b.record.Run)
		}
	}
	var known *Failure
	if errors.As(err, &known) {
		return err
	}
	f := &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: phase.ServerState()}
	if phase.Wiped() {
		f.Kind = Unknown
	}
	var failed *InstallerError
	if errors.As(err, &failed) && len(failed.Tail) > 0 {
		b.p.Log.Info("the installer's last lines, all of them are in %s:\n  %s", b.log, strings.Join(failed.Tail, "\n  "))
	}
	if ctx.Err() != nil {
		f.Err, f.Next = fmt.Errorf("interrupted while %s: %w", phase, context.Cause(ctx)), next.Say("%s goes on from there", b.command())
	}
	return f
}

// newHost is the host as it is once it was installed.
func (b *installation) newHost() config.Host {
	h := b.host
	h.HostKey = b.record.HostKey
	return h
}
