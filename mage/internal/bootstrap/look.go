package bootstrap

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// trial asks a person, but takes a key of the host itself on trial: the summary
// of what will be wiped shows it, and the typed name accepts it. Until then
// nothing but facts is asked of the server.
type trial struct {
	remote.Prompter
	host     string
	later    bool // somebody is going to type the name
	question *remote.HostKeyQuestion
}

// TrustHostKey is part of [remote.Prompter].
func (t *trial) TrustHostKey(ctx context.Context, q remote.HostKeyQuestion) (bool, error) {
	if !t.later || q.Name != t.host {
		return t.Prompter.TrustHostKey(ctx, q)
	}
	t.question = &q
	return true, nil
}

// firstPort is where the system listens that is there now.
func (b *installation) firstPort() int { return cmp.Or(b.o.Port, 22) }

// doors are the logins to try at the system that is there now: on its usual
// port, then on that of an installed system of ours, which must be the pinned one.
// A server that runs the installer knows root only.
func (b *installation) doors() []config.Host {
	first := b.host
	first.Port, first.HostKey = b.firstPort(), ""
	list := []config.Host{first}
	if b.host.Port != first.Port {
		list = append(list, b.host)
	}
	if b.record != nil && b.host.User != "root" {
		again := first
		again.User = "root"
		list = append(list, again)
	}
	return list
}

// look logs in to the system that is there now and asks it for its facts.
func (b *installation) look(ctx context.Context) error {
	b.p.Log.Info("%s: looking at the server", b.host.Name)
	var first error
	for _, h := range b.doors() {
		l := &login{dialer: b.dialer, host: h}
		err := l.dial(ctx, h.Port)
		if err == nil {
			l.key = l.client.HostKeyLine()
			b.link = l
			return b.askFacts(ctx)
		}
		if first == nil || !isUnreachable(err) {
			first = err
		}
		var denied *remote.AuthError
		if !isUnreachable(err) && (!errors.As(err, &denied) || b.record == nil) {
			break
		}
	}
	return connectFailure(b.host.Name, first)
}

func (b *installation) askFacts(ctx context.Context) error {
	ctx, cancel := b.limits.within(ctx, limitLook)
	defer cancel()
	var disks []string
	for _, host := range b.flake.Hosts {
		disks = append(disks, host.Disks...)
	}
	slices.Sort(disks)
	disks = slices.Compact(disks)
	out, err := b.link.ask(ctx, b.link.shell().Fresh(disks))
	if err != nil {
		return b.link.askFailure("look at the server", err)
	}
	if b.facts, err = run.ParseFresh(bytes.NewReader(out)); err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
	}
	return b.forgetOldKey(ctx)
}

// forgetOldKey takes back the throw-away key of a run that was killed.
func (b *installation) forgetOldKey(ctx context.Context) error {
	if b.record == nil || b.record.InstallKey == "" {
		return nil
	}
	user := b.record.User
	if b.facts.Installer {
		user = "root"
	}
	if _, err := b.link.ask(ctx, b.link.shell().Unauthorize(user, b.record.InstallKey)); err != nil {
		b.p.Log.Warn("%s: the install key of an earlier run could not be removed: %v", b.host.Name, err)
	}
	return nil
}

// choose decides what is installed and where it is built, and refuses a server
// that cannot take it.
func (b *installation) choose(ctx context.Context) error {
	f, name := b.facts, b.host.Name
	if err := b.refuseArch(); err != nil {
		return err
	}
	b.output = b.host.Output(f.Arch)
	for _, check := range []func() error{
		func() error { return RefuseFresh(name, f) },
		b.checkFacts,
		b.refuseDisk,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if ports := b.config.SSHPorts; len(ports) > 0 && !slices.Contains(ports, b.host.Port) {
		b.p.Log.Warn("%s: the new system's sshd listens on port %d, and bootstrap waits for it on port %d", name, ports[0], b.host.Port)
	}
	return b.chooseBuilder(ctx)
}

// MinMemory is what the installer's system needs, which lives in memory. A
// server sold with 1 GB shows a little less.
const MinMemory = 900 << 20

// RefuseFresh finds what keeps any server from being installed.
func RefuseFresh(host string, f run.FreshFacts) error {
	another := next.Words("choose an image such as Debian or Ubuntu in the provider's console, then run this again")
	switch {
	case f.Kernel != "Linux":
		return refused(host, another, "the server runs %q, and the installer starts from Linux only", f.Kernel)
	case f.UID != 0:
		return refused(host, next.Words("log in as root, or as a user with passwordless sudo"), "not root there (uid %d)", f.UID)
	case f.Memory > 0 && f.Memory < MinMemory:
		return refused(host, next.Words("take a server with 1 GB of memory or more"), "too little memory: %d MB, and the installer lives in memory and needs %d MB",
			f.Memory>>20, MinMemory>>20)
	case f.Installer:
		return nil // nothing more has to be started from there
	}
	for _, need := range []struct {
		there bool
		name  string
	}{{f.Tar, "tar"}, {f.Cpio, "cpio"}, {f.Setsid, "setsid with --wait (util-linux)"}} {
		if !need.there {
			return refused(host, next.Words("install it there, then run this again"), "the server has no %s, which the installer needs", need.name)
		}
	}
	return nil
}

func (b *installation) refuseArch() error {
	h, arch := b.host, b.facts.Arch
	system := config.SystemOf(arch)
	switch {
	case system == "":
		return refused(h.Name, next.Words("use a server with an x86 or arm processor"), "unknown architecture %q", arch)
	case h.System != "" && h.System != system:
		return refused(h.Name, next.Say("write system: %s for it in vps.yaml", system),
			"vps.yaml says system %q, the server is %q (%s)", h.System, system, arch)
	}
	return nil
}

// disks are the devices that this install erases.
func (b *installation) disks() []string { return b.config.Disks }

func (b *installation) refuseDisk() error {
	for _, disk := range b.disks() {
		for _, missing := range b.facts.Missing {
			if disk == missing {
				return refused(b.host.Name, next.Words("name the right one in nix/modules/disk.nix (vps.disk)"),
					"the server has no disk %q; it has: %s", disk, listed(b.facts.Devices))
			}
		}
	}
	return nil
}

// chooseBuilder decides early what nixos-anywhere's "auto" finds out after it has
// replaced the running system: a build here fails before anything was touched.
func (b *installation) chooseBuilder(ctx context.Context) error {
	if b.o.BuildOn == "local" || b.o.BuildOn == "remote" {
		b.local = b.o.BuildOn == "local"
		return nil
	}
	arch, err := b.engine.Arch(ctx)
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
	}
	b.local = config.SystemOf(b.facts.Arch) == map[string]string{"amd64": "x86", "x86_64": "x86", "arm64": "arm", "aarch64": "arm"}[arch]
	return nil
}

func (b *installation) buildOn() string {
	if b.local {
		return "local"
	}
	return "remote"
}

func listed(list []string) string {
	if len(list) == 0 {
		return "none that could be listed"
	}
	text := ""
	for i, item := range list {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%q", item)
	}
	return text
}
