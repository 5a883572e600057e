package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/trust"
)

// adopt prepares a NixOS for its first update that was installed by something else.
// It says what becomes of what is there: nothing of it is lost. A server without the
// age key gets it where its configuration looks for it, if somebody agrees. It gives
// the facts as they are then.
func (u *update) adopt(ctx context.Context, f run.Facts) (run.Facts, error) {
	if f.Record != nil {
		return f, nil
	}
	if old, err := manifestOf(f); err == nil && len(old.Entries()) > 0 {
		u.p.log.Info("%s: %s, generation %d, was not deployed from here; its /etc/nixos (%d files) is replaced, and kept on the server below /var/lib/vps/kept",
			u.host.Name, f.Version, f.Generation, len(old.Entries()))
	}
	config := u.pre.facts(output(u.host, f))
	switch {
	case len(f.AgeKeys) > 0:
		return f, nil
	case config.Age == nil:
		u.p.log.Warn("%s: where output %q looks for its age key is not known, so that nobody looked whether it is there; %s finds out", u.host.Name, output(u.host, f), next.Target("check"))
		return f, nil
	case u.host.OwnAgeKey || u.pre.decrypts(u.host, f) != no:
		return f, nil // it has another key, or shall not have the one of this machine
	case config.Age.KeyFile == "" || config.Age.KeyFile != u.pre.ageKeyPath(u.host.KnownOutput()) || len(config.Files()) == 0:
		return f, nil
	case !u.p.log.Interactive():
		return f, nil // refused later, with the command that puts it there
	}
	return u.giveKey(ctx, f, config)
}

// giveKey puts the age key onto the server, after asking.
func (u *update) giveKey(ctx context.Context, f run.Facts, config facts.Host) (run.Facts, error) {
	path := config.Age.KeyFile
	seen := u.link.seen()
	item := trust.Item{Name: seen.HostKey, Text: fmt.Sprintf("%s at %s, host key %s", u.host.Name, seen.Address, seen.HostKey)}
	err := trust.Confirm(ctx, person{u.p.log}, trust.Question{
		Doing: "taking over " + u.host.Name,
		What:  "would be given the private age key, at " + path,
		Items: []trust.Item{item},
		Ask:   "The server has no age key there, and could not decrypt its secrets. Is it yours?",
		No:    next.Words("Leave this host out."),
	}, nil)
	if err == nil {
		var out []byte
		if out, err = u.link.Ask(ctx, u.link.Shell.PutKey(path, u.pre.ids.Only(u.pre.recipients(config)).KeyFile())); err == nil {
			err = run.ParsePutKey(out)
		}
	}
	if err != nil {
		return f, &Failure{Host: u.host.Name, Code: CodeFailed, Err: fmt.Errorf("give the server its age key: %w", err), Now: asItWas}
	}
	now := trust.Host{Address: seen.Address, HostKey: seen.HostKey, When: time.Now().UTC()}
	if err := trust.Change(ctx, u.p.Dir, func(r *trust.Record) { r.Confirm(u.host.Name, now) }); err != nil {
		u.p.log.Warn("%s: %v", u.host.Name, err)
	}
	again, err := u.link.facts(ctx, run.FactsQuery{AgeKey: path})
	if err != nil {
		return f, err
	}
	f.AgeKeys = again.AgeKeys
	return f, nil
}
