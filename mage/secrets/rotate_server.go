package secrets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
)

// serverRotation is one call of RotateServer.
type serverRotation struct {
	RotateOptions
	*server
	seen   HostSeen
	record trust.Record
	key    string   // recipient that stays
	old    []string // recipients that go
}

// RotateServer replaces the age key that one host has for itself, and no other key. A
// host that has the key of this machine until now gets one of its own. Its order locks
// nobody out: the new key stands beside the old one, in .sops.yaml and on the server,
// until the host is deployed; then the old one can decrypt nothing that is written
// from then on, and leaves the server once no generation there needs it.
//
// It can be interrupted anywhere and is finished by calling it again. Nothing is
// remembered for that but the hashes of the keys that were made.
func RotateServer(ctx context.Context, dir, host string, options RotateOptions) error {
	r := &serverRotation{RotateOptions: options.complete(), server: &server{project: Project{Dir: dir}, host: host}}
	for _, step := range []func(context.Context) error{r.begin, r.look, r.confirm, r.give, r.deployBoth, r.replace, r.forget} {
		if err := ctx.Err(); err != nil {
			return r.explain(err)
		}
		if err := step(ctx); err != nil {
			return r.explain(err)
		}
	}
	return nil
}

func (r *serverRotation) explain(err error) error {
	if errors.Is(err, errWaiting) {
		return nil
	}
	if declined := (*trust.DeclinedError)(nil); errors.As(err, &declined) || errors.Is(err, ErrUnconfirmed) {
		return err // it says how to go on
	}
	return fail(err, next.Or(next.Of(err), next.Say("Run %s again when that is solved: it goes on where it was.", r.again())), "the rotation of %s is not finished", r.host)
}

func (r *serverRotation) again() next.Step {
	return next.Target("secrets:rotate", "-host="+r.host)
}

func (r *serverRotation) begin(ctx context.Context) (err error) {
	if r.ids, err = (Sources{Dir: r.project.Dir, Getenv: r.Getenv, Ask: r.Ask}).Load(ctx); err != nil {
		return err
	}
	if r.ids.IsExample() {
		return fail(ErrExampleKey, makeOwnKey, "there is no key of your own yet")
	}
	state, err := loadRotation(r.project)
	if err != nil {
		return err
	}
	if state.saved != nil {
		return fail(nil, next.Say("Finish it first: %s.", next.Target("secrets:rotate")), "the rotation of %s is not finished", state.Started.Format("2006-01-02"))
	}
	return nil
}

// look asks who answers, and finds out from its keys how far an earlier call came.
func (r *serverRotation) look(ctx context.Context) (err error) {
	if r.seen, err = r.Remote.Look(ctx, r.host); err != nil {
		return fmt.Errorf("looking who answers there: %w", err)
	}
	switch {
	case r.seen.SSHOnly:
		return fail(nil, next.Words("Make a new SSH host key there, put its age recipient (ssh-to-age) into .sops.yaml, and run the target secrets:init."),
			"%s decrypts with its SSH host key, which is not replaced from here", r.host)
	case !r.seen.Own:
		return fail(nil, next.Say("Write ageKey: own under %s in vps.yaml, then run %s.", r.host, r.again()), "%s has the age key of this machine", r.host)
	}
	found, err := serverIn(ctx, r.project, r.ids, r.host, r.seen.Files)
	if err != nil {
		return err
	}
	r.server = found
	if len(r.needs) == 0 {
		return fail(nil, next.Say("Look which files it declares: %s.", next.Target("secrets:list")), "no sops file of this project is one that %s needs", r.host)
	}
	if r.record, err = trust.Load(ctx, r.project.Dir); err != nil {
		return err
	}
	r.plan()
	return nil
}

// plan decides which key stays. One that was made here and that the server has, while
// another one of the host is named, or while the server has others, is what an earlier
// call came to.
func (r *serverRotation) plan() {
	named := r.server.recipients()
	made := slices.DeleteFunc(slices.Clone(named), func(name string) bool { return r.record.ServerKeys[name].Hash == "" })
	slices.SortFunc(made, func(a, b string) int { return r.record.ServerKeys[b].Made.Compare(r.record.ServerKeys[a].Made) })
	if len(made) > 0 && r.has(made[0]) && (len(named) > 1 || len(r.seen.Hashes) > 1) {
		r.key = made[0]
	}
	r.old = without(named, r.key)
}

// has reports whether the server has a key that was made here.
func (r *serverRotation) has(recipient string) bool {
	return slices.Contains(r.seen.Hashes, r.record.ServerKeys[recipient].Hash)
}

// confirm: a key is given only to a server that a person confirmed.
func (r *serverRotation) confirm(ctx context.Context) error {
	if r.key != "" {
		return nil
	}
	if err := r.project.refuseUnconfirmed(ctx, r.ids, r.touched(), ""); err != nil {
		return err
	}
	text := fmt.Sprintf("%s: %s, host key %s", r.host, r.seen.Address, r.seen.HostKey)
	if changed := r.record.Changed(r.host, trust.Host{Address: r.seen.Address, HostKey: r.seen.HostKey}); changed != "" {
		text += "; " + changed
	}
	return trust.Confirm(ctx, person{r.Console}, trust.Question{
		Doing: "replacing the age key of " + r.host,
		What:  "would be given a private key that decrypts " + strings.Join(r.needs, ", "),
		Items: []trust.Item{{Name: r.seen.HostKey, Text: text + "; " + cmp.Or(r.seen.Note, "nothing else is known of it")}},
		Ask:   "Is it your server, with the address and host key that you expect?",
		No:    next.Say("See who changed what you do not expect: %s.", next.Shell("git", "log", "-p", "--", "vps.yaml")),
		Rerun: next.Command{Target: "secrets:rotate", Args: []string{"-host=" + r.host}},
	}, r.Accept)
}

// give makes the new key, names it beside the old ones, and puts it beside them.
// Recipients of the host whose keys never came there are left out at the same time.
func (r *serverRotation) give(ctx context.Context) error {
	if r.key != "" {
		return nil
	}
	key, err := r.project.newServerKey(ctx, r.host, r.Now())
	if err != nil {
		return err
	}
	err = r.change(ctx, func(text string) (string, error) {
		var live []string
		for _, old := range r.old {
			if hash := r.record.ServerKeys[old].Hash; hash != "" && !r.has(old) {
				if text, err = removeRecipient(text, old, r.all...); err != nil {
					return "", err
				}
				continue
			}
			live = append(live, old)
		}
		r.old = live
		if len(live) > 0 {
			if text, err = addRecipient(text, live[0], key.Recipient, r.all...); err != nil {
				return "", err
			}
		}
		return r.add(text, key.Recipient)
	})
	if err != nil {
		return err
	}
	if err := r.server.realign(ctx, key.Recipient); err != nil {
		return err
	}
	r.Console.Say("%s: writing its new age key", r.host)
	if err := r.write(ctx, key.KeyFile(), append(slices.Clone(r.seen.Hashes), key.id.hash())); err != nil {
		return err
	}
	r.key = key.Recipient
	return trust.Change(ctx, r.project.Dir, func(t *trust.Record) {
		t.Confirm(r.host, trust.Host{Address: r.seen.Address, HostKey: r.seen.HostKey, When: r.Now().UTC()})
	})
}

// write changes the server's key file to the identities with these hashes, of which
// it lacks only those in keyFile.
func (r *serverRotation) write(ctx context.Context, keyFile []byte, hashes []string) error {
	keep := slices.DeleteFunc(slices.Clone(hashes), func(hash string) bool { return !slices.Contains(r.seen.Hashes, hash) })
	if err := r.Remote.PutIdentities(ctx, r.host, r.seen, keyFile, keep...); err != nil {
		return fmt.Errorf("writing its keys: %w", err)
	}
	after, err := r.Remote.Look(ctx, r.host)
	if err != nil {
		return fmt.Errorf("comparing its keys: %w", err)
	}
	if !slices.Equal(after.Hashes, hashes) {
		return errors.New("the keys on the server are not the ones that were written")
	}
	r.seen.Hashes = after.Hashes
	return nil
}

// deployBoth deploys secrets that both keys decrypt.
func (r *serverRotation) deployBoth(ctx context.Context) error {
	r.Console.Say("%s: deploying secrets for its new key", r.host)
	return r.Remote.Deploy(ctx, r.host)
}

// replace takes the old keys out of the files, which get new data keys.
func (r *serverRotation) replace(ctx context.Context) error {
	done := len(r.old) == 0
	for _, file := range r.all { // an earlier call may have come as far as .sops.yaml
		misaligned, err := r.misaligned(file)
		if err != nil {
			return err
		}
		done = done && !misaligned
	}
	if done {
		return nil
	}
	err := r.change(ctx, func(text string) (string, error) {
		for _, old := range r.old {
			var err error
			if text, err = removeRecipient(text, old, r.all...); err != nil {
				return "", err
			}
		}
		return text, nil
	})
	if err != nil {
		return err
	}
	if err := r.server.realign(ctx, r.key); err != nil {
		return err
	}
	r.Console.Say("%s: deploying secrets for the new key only", r.host)
	return r.Remote.Deploy(ctx, r.host)
}

// forget takes every other key from the server, once no generation needs one.
func (r *serverRotation) forget(ctx context.Context) error {
	record, err := trust.Load(ctx, r.project.Dir)
	if err != nil {
		return err
	}
	before := slices.Concat(r.old, r.ids.Recipients())
	for recipient, key := range record.ServerKeys {
		if key.Host == r.host && recipient != r.key {
			before = append(before, recipient)
		}
	}
	needed, err := r.Remote.OldStillNeeded(ctx, r.host, before, r.key)
	if err != nil {
		return fmt.Errorf("asking which generations need the old key: %w", err)
	}
	if needed {
		r.Console.Say("the old key stays on %s until it keeps no generation that needs it; run `%s` again after some more updates", r.host, r.again())
		return errWaiting
	}
	shared := slices.ContainsFunc(r.ids.Hashes(), func(hash string) bool { return slices.Contains(r.seen.Hashes, hash) })
	if err := r.write(ctx, nil, []string{record.ServerKeys[r.key].Hash}); err != nil {
		return err
	}
	if shared {
		r.Console.Say("%s had the age key of this machine until now; if others could read it there, replace it too: `%s`", r.host, next.Target("secrets:rotate"))
	}
	r.Console.Say("done: %s has a new age key; commit .sops.yaml and the sops files", r.host)
	r.Console.Say("values that are in git's history stay readable to the old key: change them too, with `%s`", next.Target("secrets:set"))
	return nil
}
