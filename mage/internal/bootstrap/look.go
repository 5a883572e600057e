package bootstrap

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/remote"
	"golang.org/x/crypto/ssh"
)

// trial asks a person, but takes a key of the host itself on trial: the summary
// of what will be erased shows it, and the typed name accepts it. Until then
// nothing but facts is asked of the server.
type trial struct {
	remote.Prompter
	host     string
	given    string // fingerprint that the person gave; "" for none
	later    bool   // somebody is going to type the name
	question *remote.HostKeyQuestion
}

// errNotGiven: the server shows another key than the one whose fingerprint was given.
var errNotGiven = errors.New("this is not the host key that was given")

// TrustHostKey is part of [remote.Prompter].
func (t *trial) TrustHostKey(ctx context.Context, q remote.HostKeyQuestion) (bool, error) {
	switch {
	case q.Name != t.host:
		return t.Prompter.TrustHostKey(ctx, q)
	case t.given != "":
		return false, errNotGiven
	case !t.later:
		return t.Prompter.TrustHostKey(ctx, q)
	}
	t.question = &q
	return true, nil
}

// firstPort is where the system listens that is there now.
func (b *installation) firstPort() int { return cmp.Or(b.o.Port, 22) }

// door is a login to try.
type door struct {
	host config.Host
	keys []string // host keys that may be shown; none: known_hosts and the person decide
}

// doors are the logins to try at the system that is there now: on its usual port,
// then on that of a NixOS that was installed from here. A server that runs the
// installer knows root only, and perhaps only the install key.
func (b *installation) doors() []door {
	first := b.host
	first.Port, first.HostKey = b.firstPort(), ""
	keys := b.knownKeys()
	list := []door{{first, keys}}
	if b.host.Port != first.Port {
		pinned := keys
		if b.host.HostKey != "" && b.o.HostKey == "" {
			pinned = append([]string{b.host.HostKey}, keys...)
		}
		list = append(list, door{b.host, pinned})
	}
	return append(list, b.installerDoors()...)
}

// installerDoors are the logins to the installer that an earlier run, or this one,
// started. It shows no key that was not learnt before.
func (b *installation) installerDoors() []door {
	if b.record == nil || len(b.record.OldKeys) == 0 {
		return nil
	}
	own := b.host
	own.User, own.Port, own.HostKey = "root", b.installerPort(), ""
	list := []door{{own, b.record.OldKeys}}
	if b.hasKeyFile() {
		list = append(list, door{b.byInstallKey(own), b.record.OldKeys})
	}
	return list
}

// byInstallKey is the host as the install key alone logs in to it.
func (b *installation) byInstallKey(h config.Host) config.Host {
	h.Identities, h.IdentitiesOnly, h.Agent = []string{b.beside(".key")}, true, "none"
	return h
}

// knownKeys are the host keys that were verified for this server before; any other
// key stops everything. Whoever gives a fingerprint knows better.
func (b *installation) knownKeys() []string {
	switch {
	case b.o.HostKey != "":
		return nil
	case b.record != nil && len(b.record.OldKeys) > 0:
		return b.record.OldKeys
	case b.host.HostKey != "":
		return []string{b.host.HostKey}
	}
	return nil
}

// open logs in through a door.
func (b *installation) open(ctx context.Context, d door) (*login, error) {
	l := &login{dialer: b.dialer, host: d.host}
	if len(d.keys) > 0 {
		return l, l.dialKnown(ctx, d.host.Port, d.keys)
	}
	err := l.dial(ctx, d.host.Port)
	if errors.Is(err, errNotGiven) {
		err = b.openGiven(ctx, l)
	}
	return l, err
}

// openGiven looks for the given fingerprint among the host keys of every type that
// the server shows: which one is negotiated is not the person's choice.
func (b *installation) openGiven(ctx context.Context, l *login) error {
	keys, err := b.dialer.HostKeys(ctx, l.host.Target)
	if err != nil {
		return err
	}
	var shown []string
	for _, key := range keys {
		if ssh.FingerprintSHA256(key) == b.o.HostKey {
			return l.dialKnown(ctx, l.host.Port, []string{lineOf(key)})
		}
		shown = append(shown, key.Type()+" "+ssh.FingerprintSHA256(key))
	}
	return &remote.HostKeyMismatchError{Name: l.host.Name, Addr: l.host.Target.Addr(), Got: strings.Join(shown, " and "),
		Want: []string{b.o.HostKey}, Source: "-hostkey"}
}

// look logs in to the system that is there now and asks it for its facts.
func (b *installation) look(ctx context.Context) error {
	b.p.Log.Info("%s: looking at the server", b.host.Name)
	var first error
	for _, d := range b.doors() {
		l, err := b.open(ctx, d)
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
	return b.lookFailure(first)
}

// lookFailure tells a host key that contradicts what was given, or verified before,
// from all else that can go wrong.
func (b *installation) lookFailure(err error) error {
	var mismatch *remote.HostKeyMismatchError
	if !errors.As(err, &mismatch) {
		return connectFailure(b.host.Name, err)
	}
	f := &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: "nothing was changed, and nothing was sent to it"}
	switch again := next.Target("bootstrap", b.host.Name, "-hostkey=SHA256:…"); {
	case b.o.HostKey != "":
		f.Next = next.Say("compare the fingerprints with the ones on the server's console, and give one of these: %s", again)
	case b.record != nil:
		f.Err = fmt.Errorf("the server shows another host key than the one that was verified when its install began: %w", err)
		f.Next = next.Say("somebody may be in between: compare with the server's console; if the server was set up again there, run: %s", again)
	case b.host.HostKey != "":
		f.Next = next.Say("somebody may be in between: compare with the server's console; if the server was set up again there, run: %s", again)
	}
	return f
}

func (b *installation) askFacts(ctx context.Context) error {
	ctx, cancel := b.limits.within(ctx, limitLook)
	defer cancel()
	facts, err := b.factsOf(ctx, b.link)
	if err != nil {
		return err
	}
	b.facts = facts
	return b.endLeft(ctx)
}

// factsOf asks a system for its facts.
func (b *installation) factsOf(ctx context.Context, l *login) (run.FreshFacts, error) {
	out, err := l.askAsRoot(ctx, func(shell run.Shell) run.Command { return shell.Fresh(b.mayErase()) })
	if err != nil {
		return run.FreshFacts{}, l.askFailure("look at the server", err)
	}
	facts, err := run.ParseFresh(bytes.NewReader(out))
	if err != nil {
		return facts, &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
	}
	return facts, nil
}

// mayErase are the disks to ask about, before it is known which output is meant.
func (b *installation) mayErase() []string {
	if b.output != "" {
		return b.disks()
	}
	var disks []string
	for _, host := range b.flake.Hosts {
		disks = append(disks, host.Disks...)
	}
	slices.Sort(disks)
	return slices.Compact(disks)
}

// endLeft ends what an interrupted install of this project left at work on the
// server: a disko that was in the middle of one long command would erase the disk
// under the next. Another project's is never touched.
func (b *installation) endLeft(ctx context.Context) error {
	var own []run.Leftover
	for _, l := range b.facts.Left {
		project, rest, _ := strings.Cut(l.Mark, "/")
		if project != b.project {
			_, rest, _ = strings.Cut(rest, "/")
			who, _, _ := strings.Cut(rest, "/")
			return &Failure{Host: b.host.Name, Kind: Busy, Now: "that install goes on; nothing was changed",
				Err:  fmt.Errorf("%s is installing this server, from another project: process %s there, %q", cmp.Or(who, "somebody"), l.PID, l.Command),
				Next: next.Say("ask them; if that install is dead, log in and end the process (%s), then run: %s", next.Shell("kill", l.PID), b.command())}
		}
		own = append(own, l)
	}
	if len(own) == 0 {
		return nil
	}
	out, err := b.link.ask(ctx, b.link.shell().EndLeft(b.project))
	if err != nil {
		return b.link.askFailure("end what an earlier install left at work", err)
	}
	_, stay, err := run.ParseEnded(bytes.NewReader(out))
	if err == nil && len(stay) > 0 {
		err = fmt.Errorf("an earlier install is still at work on the server, and does not end: %q", own[0].Command)
	}
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: "nothing else was changed",
			Next: next.Say("restart the server into a rescue system in the provider's console, then run: %s", b.command())}
	}
	b.p.Log.Info("%s: stopped what an interrupted install left at work there: %s", b.host.Name, term.Clean(own[0].Command))
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
		func() error { return b.checkFacts(ctx) },
		b.checkSystem,
		b.refuseDisk,
		b.refuseKexec,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if ports := b.config.SSHPorts; len(ports) > 0 && !slices.Contains(ports, b.host.Port) {
		b.p.Log.Warn("%s: the new system's sshd listens on port %d, and bootstrap waits for it on port %d", name, ports[0], b.host.Port)
	}
	if err := b.chooseBuilder(ctx); err != nil {
		return err
	}
	return b.refuseBuild()
}

// MinMemory is what the installer's system needs, which lives in memory. A
// server sold with 1 GB shows a little less.
const MinMemory = 900 << 20

// minBuildMemory is what it takes to build the system there, too: the installer's
// root, and so all that is downloaded before the disk is there, is in memory.
const minBuildMemory = 1800 << 20

// RefuseFresh finds what keeps any server from being installed.
func RefuseFresh(host string, f run.FreshFacts) error {
	another := next.Words("choose an image such as Debian or Ubuntu in the provider's console, then run this again")
	switch {
	case f.Kernel != "Linux":
		return refused(host, another, "the server runs %q, and the installer starts from Linux only", f.Kernel)
	case f.UID != 0:
		return refused(host, next.Words("log in as root, or as a user with passwordless sudo, doas or run0"), "not root there (uid %d)", f.UID)
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

// refuseKexec: the server unpacks the installer's image, compressed as its name says.
func (b *installation) refuseKexec() error {
	program := "gzip"
	if k := b.p.Config.Install.Kexec; k != nil {
		switch {
		case strings.HasSuffix(k.URL, ".xz"):
			program = "xz"
		case strings.HasSuffix(k.URL, ".zst"):
			program = "zstd"
		case strings.HasSuffix(k.URL, ".tar"):
			return nil
		}
	}
	if b.facts.Installer || slices.Contains(b.facts.Decompressors, program) {
		return nil
	}
	return refused(b.host.Name, next.Say("install %s there, then run this again", program),
		"the server has no %s, with which the installer's image is compressed", program)
}

// refuseBuild: a system that is built there needs more than one that is only copied.
func (b *installation) refuseBuild() error {
	if b.local || b.facts.Memory == 0 || b.facts.Memory >= minBuildMemory {
		return nil
	}
	return refused(b.host.Name, next.Say("take a larger server, or build here: %s", next.Target("bootstrap", b.host.Name, "-buildon=local")),
		"too little memory to build there: %d MB, and it takes %d MB", b.facts.Memory>>20, minBuildMemory>>20)
}

func (b *installation) refuseArch() error {
	h, arch := b.host, b.facts.Arch
	system := config.SystemOf(arch)
	switch {
	case system == "":
		return refused(h.Name, next.Words("use a server with an x86 or arm processor"), "unknown architecture %q", arch)
	case h.System != "" && h.System != system:
		said, where := "vps.yaml says system "+h.System, next.Say("write system: %s for it in vps.yaml", system)
		if b.o.System != "" {
			said, where = "-system="+b.o.System+" was given", next.Say("leave -system away, or give -system=%s", system)
		}
		return refused(h.Name, where, "%s, the server is %q (%s)", said, system, arch)
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
					"the server has no disk %q; it has: %s", disk, listed(DeviceNames(b.facts.Devices)))
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

func DeviceNames(devices []run.Device) []string {
	var names []string
	for _, d := range devices {
		names = append(names, "/dev/"+d.Node)
	}
	return names
}
