package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dagadbm/vps/mage/internal/term"
)

// consent shows what will be wiped and asks for the host's name.
func (b *installation) consent(ctx context.Context) error {
	b.p.Log.Warn("%s is going to be wiped", b.host.Name)
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
		rows = append(rows, [2]string{"disk", d})
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
