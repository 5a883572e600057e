package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
	"golang.org/x/crypto/ssh"
)

// install erases the server's disks and puts the new system on it. What can fail
// here fails before the server is touched; the disks are looked at again between
// the start of the installer and their end.
func (b *installation) install(ctx context.Context) error {
	if err := b.begin(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{b.ownAgeKey, b.build, b.enterInstaller, b.checkDisks, b.installSystem} {
		if err := step(ctx); err != nil {
			return b.ended(ctx, err)
		}
	}
	return nil
}

// begin makes the keys of the install and writes down that it begins.
func (b *installation) begin() error {
	hostKey, err := newKeyPair(b.host.Name)
	if err != nil {
		return usage(fmt.Errorf("make the host key: %w", err))
	}
	key, err := b.keyFile()
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: fmt.Errorf("write the install key: %w", err), Now: asItWas,
			Next: next.Say("make .vps/ writable, then run: %s", b.command())}
	}
	r := &installRecord{
		Run: b.run, Phase: InstallerBuilding.String(), Output: b.output, Address: b.host.Address, HostKey: bare(hostKey.public),
		InstallKey: bare(key.public), User: b.link.host.User, Disks: agreed(b.facts, b.disks()), Since: time.Now(),
	}
	r.learn(b.link.key)
	r.learn(b.facts.HostKeys...)
	if b.record != nil && b.facts.Installer {
		r.learn(b.record.OldKeys...)
		keepAgreed(r.Disks, b.record)
		if b.record.phase().Wiped() {
			r.Phase = InstallerFormatting.String() // its disk stays erased, whatever fails now
		}
	}
	b.record, b.key, b.hostKey = r, key, hostKey
	return b.save()
}

// keepAgreed: the installer runs already, and what somebody agreed to before it did
// holds. A disk that was erased since has another partition table.
func keepAgreed(disks map[string]run.Device, before *installRecord) {
	for path := range disks {
		if was, ok := before.Disks[path]; ok {
			if before.phase().Wiped() {
				was.Table = ""
			}
			disks[path] = was
		}
	}
}

// ownAgeKey makes the age key of a server that has one of its own, and encrypts the
// secrets that it needs to it, before they become a part of the system. The key is in
// memory until the server has it: after an interruption there is another one.
func (b *installation) ownAgeKey(ctx context.Context) (err error) {
	if !b.host.OwnAgeKey {
		return nil
	}
	files := b.config.Files()
	for i, file := range files {
		files[i] = b.pre.Source(file)
	}
	if b.ageKey, err = secrets.ServerKeyFor(ctx, b.p.Dir, b.pre.Identities, b.host.Name, files); err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: fmt.Errorf("make its own age key: %w", err), Now: asItWas, Next: next.Of(err)}
	}
	b.p.Log.Info("%s: it gets an age key that no other machine has; commit .sops.yaml and the sops files, which name its recipient", b.host.Name)
	b.pre, err = b.p.Prepare(ctx)
	return err
}

// build builds the system and the script that formats, here, unless the server
// does it later: a configuration that does not build fails before anything else.
func (b *installation) build(ctx context.Context) error {
	if !b.local {
		return nil
	}
	attribute := "path:/work#nixosConfigurations.\"" + b.output + "\".config.system.build."
	job := b.job(b.p.Config.Install.Network)
	job.Run += "-build"
	command := container.NixCommand{Job: job, Args: []string{"build", "--no-write-lock-file", "--no-link", "--print-out-paths", "--print-build-logs",
		attribute + "diskoScript", attribute + "toplevel"}}
	archive, err := command.Archive(b.pre.Tree)
	if err != nil {
		return usage(err)
	}
	var paths bytes.Buffer
	err = b.watch(ctx, InstallerWatch{From: InstallerBuilding}, "built", func(ctx context.Context, stdout, stderr io.Writer) error {
		return b.engine.Run(ctx, command.Spec(archive), io.MultiWriter(&paths, stdout), stderr)
	})
	if err != nil {
		return err
	}
	words := strings.Fields(paths.String())
	if len(words) != 2 {
		return fmt.Errorf("nix build printed %d paths in place of 2: %q", len(words), paths.String())
	}
	b.built = container.Built{Disko: words[0], System: words[1]}
	return nil
}

// enterInstaller replaces the system that runs by the installer's, in memory, unless
// it runs already. Then it logs in there, as the person would: whatever fails from
// now on must leave a way back in.
func (b *installation) enterInstaller(ctx context.Context) error {
	if b.facts.Installer {
		return b.admit(ctx)
	}
	if err := b.admit(ctx); err != nil {
		return err
	}
	if err := b.runStage(ctx, container.StageInstaller, InstallerPreparing); err != nil {
		return err
	}
	return b.comeBack(ctx)
}

// admit lets the install key in, over the person's own login (no key, agent or
// passphrase of theirs enters a container), and has the installer let in the
// person. Then the key is tried: sshd may read keys from where nobody can write.
func (b *installation) admit(ctx context.Context) error {
	ctx, cancel := b.limits.within(ctx, limitAuthorise)
	defer cancel()
	a := b.admission(b.link.host.User)
	a.Key = b.key.public
	if key := b.link.client.LoginKey(); key != nil {
		a.Own = append(a.Own, lineOf(key))
	}
	out, err := b.link.ask(ctx, b.link.shell().Admit(a))
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: AsCause, Err: b.link.askFailure("let the install key in", err), Now: asItWas,
			Next: next.Say("correct that on the server, then run: %s", b.command())}
	}
	admitted, err := run.ParseAdmitted(bytes.NewReader(out))
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
	}
	b.record.learn(admitted.HostKeys...)
	if err := b.save(); err != nil {
		return err
	}
	trial := &login{dialer: b.dialer, host: b.byInstallKey(b.link.host), key: b.link.key}
	if err := trial.dial(ctx, b.link.port); err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: fmt.Errorf("the server does not let the install key in: %w", err), Now: asItWas,
			Next: next.Say("have its sshd read ~/.ssh/authorized_keys of %s (AuthorizedKeysFile), then run: %s", b.link.host.User, b.command())}
	}
	trial.close()
	return nil
}

// comeBack logs in to the installer: with the person's own key, or with the install
// key, which then lets the person's in.
func (b *installation) comeBack(ctx context.Context) error {
	ctx, cancel := b.limits.within(ctx, limitLook)
	defer cancel()
	old := b.link
	var last error
	for pace := (backoff{}); ; {
		for _, d := range b.installerDoors() {
			l, err := b.open(ctx, d)
			if err == nil {
				old.close()
				l.key = l.client.HostKeyLine()
				b.link = l
				return b.welcome(ctx, old, d)
			}
			last = err
			if !isUnreachable(err) {
				continue
			}
			break
		}
		if !isUnreachable(last) {
			return fmt.Errorf("log in to the installer: %w", last)
		}
		if err := pace.wait(ctx); err != nil {
			return fmt.Errorf("log in to the installer: %w", errors.Join(err, last))
		}
	}
}

// welcome looks at the installer, and makes sure that the person's key gets in.
func (b *installation) welcome(ctx context.Context, old *login, d door) error {
	facts, err := b.factsOf(ctx, b.link)
	if err != nil {
		return err
	}
	if !facts.Installer {
		return fmt.Errorf("the server still runs %q", facts.OS)
	}
	b.before, b.facts = b.facts, facts
	if d.host.Agent != "none" || old.client.LoginKey() == nil {
		return nil
	}
	a := b.admission("root")
	a.Key, a.Own = b.key.public, []string{lineOf(old.client.LoginKey())}
	if _, err := b.link.ask(ctx, b.link.shell().Admit(a)); err != nil {
		return b.link.askFailure("let your own key in to the installer", err)
	}
	own := d.host
	own.Identities, own.IdentitiesOnly, own.Agent = b.host.Identities, b.host.IdentitiesOnly, b.host.Agent
	again := &login{dialer: b.dialer, host: own, key: b.link.key}
	if err := again.dial(ctx, b.installerPort()); err != nil {
		b.p.Log.Warn("%s: only the install key gets in to the installer, not your own (%v); it is kept in %s", b.host.Name, err, b.beside(".key"))
		return nil
	}
	b.link.close()
	b.link = again
	return nil
}

// checkDisks compares the disks in the installer with those that somebody agreed to
// erase: names such as /dev/sda may have gone to others.
func (b *installation) checkDisks(ctx context.Context) error {
	text, how := swapped(b.record.Disks, b.before, b.facts)
	if how == same || b.before.Kernel == "" && how == unknown { // agreed to in this very installer
		return nil
	}
	if how == unknown && !b.o.Yes {
		b.p.Log.Warn("%s: %s", b.host.Name, text)
		for _, d := range b.facts.Devices {
			b.p.Log.Info("  disk       %s", term.Clean(d.Node+": "+describeDisk(d)))
		}
		ok, err := b.p.Log.AskTyped(ctx, "It will be erased.", b.host.Name)
		if err == nil && ok {
			return nil
		}
	}
	step := next.Say("name it in nix/ by a name that stays its own, one of /dev/disk/by-id, then run: %s", b.command())
	for _, was := range b.record.Disks {
		if name := stableName(was); name != "" {
			step = next.Say("name the disk in nix/ by a name that stays its own (%s), then run: %s", name, b.command())
		}
	}
	return &Failure{Host: b.host.Name, Kind: Failed, Err: errors.New(text), Next: step,
		Now: "nothing was formatted; the server runs the installer in memory, and a restart brings the old system back"}
}

// installSystem formats, installs and restarts.
func (b *installation) installSystem(ctx context.Context) error {
	return b.runStage(ctx, container.StageSystem, InstallerInMemory)
}

// runStage runs a stage of the installer in its container.
func (b *installation) runStage(ctx context.Context, stage container.Stage, from InstallerPhase) error {
	route, err := b.route(ctx, stage)
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: err, Now: asItWas}
	}
	defer route.close()
	in := container.Install{
		Job: b.job(route.network), Stage: stage, Flake: b.output, User: b.link.host.User, Address: route.address, Port: route.port,
		KexecPort: route.kexecPort, Built: b.built, Mark: b.mark(),
	}
	if k := b.p.Config.Install.Kexec; k != nil && stage == container.StageInstaller {
		in.Kexec = container.Kexec{URL: k.URL, SHA256: k.SHA256}
	}
	payload := container.Payload{Tree: b.pre.Tree, InstallKey: b.key.private, KnownKeys: b.record.OldKeys}
	if stage == container.StageSystem {
		in.Job.Run += "-system"
		payload.AgeKey = b.pre.Identities.Only(b.pre.Recipients(b.config)).KeyFile()
		if b.host.OwnAgeKey {
			payload.AgeKey = b.ageKey.KeyFile()
		}
		payload.AgeKeyPath = b.ageKeyPath()
		in.DiskKeys, payload.DiskKeys = b.config.DiskKeys, b.diskKeys
		payload.HostKey, payload.HostKeyPublic = b.hostKey.private, []byte(b.hostKey.public+"\n")
	}
	archive, err := in.Archive(payload)
	if err != nil {
		return usage(err)
	}
	spec, err := in.Spec(archive)
	if err != nil {
		return usage(err)
	}
	watch := InstallerWatch{From: from, Stage: stage,
		Secrets: []string{string(payload.AgeKey), string(payload.InstallKey), string(payload.HostKey)}}
	for _, key := range payload.DiskKeys {
		watch.Secrets = append(watch.Secrets, string(key))
	}
	done := "the installer runs there"
	if stage == container.StageSystem {
		done = "installed"
	}
	return b.watch(ctx, watch, done, func(ctx context.Context, stdout, stderr io.Writer) error {
		return b.engine.Run(ctx, spec, stdout, stderr)
	})
}

// job is a container that works for this install, and says so.
func (b *installation) job(network string) container.Job {
	return container.Job{Run: "vps-" + b.run, Host: b.host.Name, Project: b.project, Server: ssh.FingerprintSHA256(b.link.client.HostKey()),
		Who: b.who(), Image: b.p.Config.Install.Image, Network: network}
}

// mark is in the environment of all that the install starts on the server.
func (b *installation) mark() string { return b.project + "/" + b.run + "/" + b.who() }

// who is the person and the machine, as far as they fit into a mark.
func (b *installation) who() string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || r == '_' || r == '@' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '_'
	}, b.p.Who+"@"+b.p.From)
}

// watch runs a container and shows how it goes.
func (b *installation) watch(ctx context.Context, w InstallerWatch, done string, work func(ctx context.Context, stdout, stderr io.Writer) error) error {
	log, err := b.openLog()
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: fmt.Errorf("open the log: %w", err), Now: asItWas, Next: next.Words("make .vps/ writable")}
	}
	defer func() { _ = log.Close() }()
	progress := b.p.Log.Progress(b.host.Name)
	defer progress.Close()
	line := progress.Host(b.host.Name)
	line.Phase(w.From.String())
	b.reached(w.From)
	w.Deadlines, w.Log, w.Progress = b.limits.installer, log, b.progress(line, w.From)
	watched, watcher := w.Start(ctx)
	err = work(watched, watcher.Stdout(), watcher.Stderr())
	err = watcher.Finish(watched, err)
	if err != nil {
		done = ""
	}
	line.Done(done, err)
	if lost := watcher.LogError(); lost != nil {
		b.p.Log.Warn("the log %s is not complete: %v", b.log, lost)
	}
	return err
}

// progress shows phases and output, and records each phase as it begins.
func (b *installation) progress(line *observe.Line, from InstallerPhase) func(InstallerProgress) {
	now := from
	return func(p InstallerProgress) {
		if p.Phase != now {
			now = p.Phase
			b.reached(now)
			line.Phase(now.String())
		}
		line.Output([]byte(p.Line + "\n"))
	}
}

// reached writes a phase down, before what it does happens. It never goes back: a
// disk that was erased stays so.
func (b *installation) reached(p InstallerPhase) {
	if p <= b.record.phase() {
		return
	}
	b.record.Phase = p.String()
	if err := b.save(); err != nil {
		b.p.Log.Warn("%v", err)
	}
}

func (b *installation) openLog() (*os.File, error) {
	dir := filepath.Join(b.p.Dir, ".vps", "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	b.log = filepath.Join(dir, "bootstrap-"+config.FileNameOf(b.host.Name)+"-"+b.run+".log")
	return os.OpenFile(b.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// newHost is the host as it is once it was installed.
func (b *installation) newHost() config.Host {
	h := b.host
	h.HostKey = b.record.HostKey
	return h
}
