package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/internal/trust"
)

// consent shows what will be wiped and asks for the host's name.
func (b *installation) consent(ctx context.Context) error {
	changed, err := b.changed(ctx)
	if err != nil {
		return err
	}
	b.p.Log.Warn("%s is going to be wiped", b.host.Name)
	if changed != "" {
		b.p.Log.Warn("%s: %s", b.host.Name, changed)
	}
	for _, row := range b.doomed() {
		b.p.Log.Info("  %-10s %s", row[0], term.Clean(row[1]))
	}
	if b.o.Yes {
		return nil
	}
	question := "All that is on it will be lost."
	if b.trial.question != nil {
		question += " The name also says that the host key is the one that the server's console shows."
	}
	ok, err := b.p.Log.AskTyped(ctx, question, b.host.Name)
	if err == nil && !ok {
		err = errors.New("its name was not typed")
	}
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: fmt.Errorf("not wiped: %w", err), Now: asItWas, Next: b.command()}
	}
	return nil
}

// changed says what differs from the last time that this name got a private key.
func (b *installation) changed(ctx context.Context) (string, error) {
	record, err := trust.Load(ctx, b.p.Dir)
	if err != nil {
		return "", err
	}
	before, known := record.Hosts[b.host.Name]
	print := b.link.client.Fingerprint()
	if known && before.HostKey == print {
		return "", nil
	}
	changed := ""
	if known {
		changed = fmt.Sprintf("it is not the server that got the age key on %s: that was %s with host key %s",
			before.When.Local().Format(time.DateOnly), before.Address, before.HostKey)
	}
	return changed, b.refuseUnconfirmed(changed)
}

// refuseUnconfirmed: with -yes nobody is asked, and a private key leaves only to a
// server that a person confirmed: one that an install began with, or whose host key
// is given. A pin in vps.yaml is no such thing, as a merge can change it.
func (b *installation) refuseUnconfirmed(changed string) error {
	print := b.link.client.Fingerprint()
	if !b.o.Yes || b.o.HostKey == print || b.record.knows(b.link.key) {
		return nil
	}
	if changed == "" {
		if b.link.key != b.host.HostKey {
			return nil // known_hosts knows it
		}
		changed = "only the pin in vps.yaml vouches for this server"
	}
	return &Failure{Host: b.host.Name, Kind: Failed, Err: errors.New("not wiped: " + changed), Now: asItWas,
		Next: next.Say("if this is your server all the same, confirm its host key: %s", next.Target("bootstrap", b.host.Name, "-yes", "-hostkey="+print))}
}

// remember notes the installed server as the one that got the age key.
func (b *installation) remember(ctx context.Context, h config.Host) error {
	now := trust.Host{Address: h.Addr(), HostKey: fingerprint(h.HostKey), When: time.Now().UTC()}
	return trust.Change(ctx, b.p.Dir, func(r *trust.Record) { r.Confirm(h.Name, now) })
}

// doomed lists what is lost and what comes in its place.
func (b *installation) doomed() [][2]string {
	f := b.facts
	rows := [][2]string{
		{"server", fmt.Sprintf("%s@%s, port %d", b.link.host.User, b.host.Address, b.link.port)},
		{"host key", b.oldKeyText()},
		{"hostname", f.Hostname},
		{"system", fmt.Sprintf("%s (%s, %d MB)", f.OS, f.Arch, f.Memory>>20)},
	}
	if ours := b.oursText(); ours != "" {
		rows = append(rows, [2]string{"state", ours})
	}
	erased := listed(b.disks())
	if len(b.disks()) == 0 {
		erased = "unknown: Nix names no disk"
	}
	rows = append(rows, [2]string{"erases", erased})
	for _, d := range f.Devices {
		rows = append(rows, [2]string{"disk", d.Node + ": " + describeDisk(d)})
	}
	for _, m := range f.Mounts {
		rows = append(rows, [2]string{"mounted", m})
	}
	place := "on this machine"
	if !b.local {
		place = "on the server"
	}
	return append(rows, [2]string{"becomes", fmt.Sprintf("NixOS %s, built %s, SSH on port %d", b.output, place, b.host.Port)})
}

func (b *installation) oldKeyText() string {
	text := b.link.client.HostKey().Type() + " " + b.link.client.Fingerprint()
	if q := b.trial.question; q != nil {
		text += ", not known here"
		if len(q.KnownAs) > 0 {
			text += "; also of " + strings.Join(q.KnownAs, ", ")
		}
	}
	return text
}

func (b *installation) oursText() string {
	switch r := b.facts.Record; {
	case b.erasesInstalled:
		return "NixOS was installed on its disk by an earlier bootstrap, and is erased"
	case r != nil:
		return fmt.Sprintf("already ours, deployed by %s from %s on %s, generation %d",
			r.Who, r.From, r.When.Local().Format("2006-01-02 15:04"), b.facts.Generation)
	case b.facts.Installer && b.record.phase().Wiped():
		return "the installer, in memory; an earlier run wiped the disk and did not end: it is wiped again"
	case b.facts.Installer:
		return "the installer, in memory"
	case b.facts.NixOS:
		return "a NixOS that is not ours"
	}
	return ""
}
