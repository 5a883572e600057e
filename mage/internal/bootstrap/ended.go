package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// ended sorts an install that did not come to its end: it looks what runs on the
// server now, takes back what has to be taken back, and says how to get in.
func (b *installation) ended(ctx context.Context, err error) error {
	now := b.sight(ctx)
	phase := b.record.phase()
	if now.old() && !phase.Wiped() {
		b.expel(ctx, now.link)
	}
	defer now.link.close()
	f := &Failure{Host: b.host.Name, Kind: Failed, Err: err}
	var known *Failure
	if errors.As(err, &known) {
		f = known
	}
	switch {
	case now.facts == nil && ctx.Err() != nil:
		f.Now = "what the server runs now is not known: nobody looked again; " + phase.Disk()
	case known == nil || now.facts != nil:
		f.Now = now.state(phase)
	}
	if phase.Wiped() {
		f.Kind = Unknown
	}
	var failed *InstallerError
	if errors.As(err, &failed) && len(failed.Tail) > 0 {
		b.p.Log.Info("the installer's last lines, all of them are in %s:\n  %s", b.log, strings.Join(failed.Tail, "\n  "))
	}
	switch {
	case ctx.Err() != nil:
		f.Err, f.Next = fmt.Errorf("interrupted while %s: %w", phase, context.Cause(ctx)), next.Say("%s goes on from there", b.command())
	case now.facts != nil && now.facts.Installer:
		f.Next = next.Say("%s; to look yourself: %s", f.NextStep(), b.wayIn(now.link))
	}
	return f
}

// sight is what runs on a server, as it was seen after a failure.
type sight struct {
	link  *login
	facts *run.FreshFacts // nil: nobody answered, or nobody looked
	err   error
}

// sightLimit is short: a person waits for the reason of a failure.
const sightLimit = 20 * time.Second

// sight looks at the server again. Mage leaves five seconds after Ctrl-C, and the
// container had its share of them.
func (b *installation) sight(ctx context.Context) sight {
	limit := sightLimit
	if ctx.Err() != nil {
		limit = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	var s sight
	if b.link.client.Err() == nil {
		if facts, err := b.factsOf(ctx, b.link); err == nil {
			again := *b.link
			return sight{link: &again, facts: &facts}
		}
	}
	for _, d := range append(b.installerDoors(), door{b.oldHost(), b.record.OldKeys}) {
		l, err := b.open(ctx, d)
		if err != nil {
			s.err = errors.Join(s.err, err)
			continue
		}
		l.key = l.client.HostKeyLine()
		facts, err := b.factsOf(ctx, l)
		if err == nil {
			return sight{link: l, facts: &facts}
		}
		l.close()
		s.err = errors.Join(s.err, err)
	}
	return s
}

// oldHost is the login to the system that was there when the install began.
func (b *installation) oldHost() config.Host {
	h := b.host
	h.Port, h.User, h.HostKey = b.firstPort(), b.record.User, ""
	return h
}

// old says whether the system that was there before runs.
func (s sight) old() bool { return s.facts != nil && !s.facts.Installer }

// state says in a sentence what runs there and what became of the disk.
func (s sight) state(phase InstallerPhase) string {
	switch {
	case s.facts == nil && errors.As(s.err, new(*remote.HostKeyMismatchError)):
		return "what answers in the server's place shows another host key, and was sent nothing; " + phase.Disk()
	case s.facts == nil && !isUnreachable(s.err):
		return "nobody gets in to the server now; " + phase.Disk()
	case s.facts == nil:
		return "the server does not answer now; " + phase.Disk()
	case s.facts.Installer && phase.Wiped() && !phase.Installed():
		return "the server runs the installer in memory; " + phase.Disk() + "; it must not be restarted"
	case s.facts.Installer && phase.Installed():
		return "the server still runs the installer in memory; " + phase.Disk()
	case s.facts.Installer:
		return "the server runs the installer in memory; " + phase.Disk() + ", and a restart brings the old system back"
	case phase.Wiped():
		return fmt.Sprintf("the server runs %q; %s", s.facts.OS, phase.Disk())
	}
	return "the server runs its old system, " + fmt.Sprintf("%q, and is as it was", s.facts.OS)
}

// expel takes the install key back from the old system, and forgets it: nothing
// needs it any more.
func (b *installation) expel(ctx context.Context, l *login) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := l.ask(ctx, l.shell().Expel(b.admission(l.host.User))); err != nil {
		b.p.Log.Warn("%s: the throw-away install key could not be removed (%v); the next bootstrap does it, or delete the lines with %s from authorized_keys there",
			b.host.Name, err, b.keyMark())
	}
}

// wayIn is the command that logs in to the installer.
func (b *installation) wayIn(l *login) next.Step {
	h := l.host
	h.Port = l.port
	return next.Shell(loginWords(h)...)
}
