package secrets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/getsops/sops/v3/config"
)

// Revoked is what a recipient could read before it was removed.
type Revoked struct {
	Recipient string
	Names     []string // of the secrets, each as FILE: NAME; their values must be changed
	Commits   []string // in which a file is encrypted to it, newest first
	// Unknown is why the history could not be looked at; nil where it was.
	Unknown error
}

// Revoke removes a recipient from .sops.yaml and from every sops file of the project
// in dir, each of which gets a new data key. What the recipient has read stays known
// to it, and so does what git's history holds: that is what the answer lists. Nobody
// else is let in: recipients that were not confirmed on this machine are refused.
// Called again, it finishes what was interrupted.
func Revoke(ctx context.Context, dir string, ids *Identities, recipient string) (*Revoked, error) {
	p := Project{Dir: dir}
	if ids.Only([]string{recipient}).Len() > 0 {
		return nil, fail(nil, next.Say("To replace your own key, here and on the servers that have it: %s", next.Target("secrets:rotate")),
			"%s is the key of this machine", short(recipient))
	}
	files, err := Files(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := &Revoked{Recipient: recipient}
	var touched []string
	for _, file := range files {
		named, err := p.in(file).names(recipient)
		if err != nil {
			return nil, err
		}
		if named {
			touched = append(touched, file)
		}
	}
	if len(touched) == 0 {
		return nil, fail(ErrUnknownName, next.Words("Compare it with those in .sops.yaml."), "no sops file and no rule of .sops.yaml names %s", short(recipient))
	}
	if err := p.refuseUnconfirmed(ctx, ids, touched, recipient); err != nil {
		return nil, err
	}
	for _, file := range touched {
		list, err := p.in(file).Names()
		if err != nil {
			return nil, err
		}
		for _, name := range list {
			out.Names = append(out.Names, file+": "+name)
		}
	}
	if err := p.dropFromRules(ctx, touched, recipient); err != nil {
		return nil, err
	}
	for _, file := range touched {
		if _, err := p.in(file).realign(ctx, ids, []string{}); err != nil {
			return nil, err
		}
	}
	out.Commits, out.Unknown = p.history(ctx, touched, recipient)
	err = trust.Change(ctx, dir, func(r *trust.Record) {
		r.Recipients = slices.DeleteFunc(r.Recipients, func(name string) bool { return sameRecipient(name, recipient) })
	})
	return out, err
}

// names reports whether the file or its rule names a recipient.
func (p Project) names(recipient string) (bool, error) {
	rules, err := loadRules(p)
	if err != nil {
		return false, err
	}
	data, err := p.read()
	if err != nil {
		return false, err
	}
	tree, err := parse(data, storeFor(p.name(), config.NewStoresConfig()))
	if err != nil {
		return false, fail(err, next.Say("Run %s.", next.Target("secrets:check")), "reading the recipients of %s", p.name())
	}
	all := slices.Concat(bare(rules.creation.KeyGroups), bare(tree.Metadata.KeyGroups))
	return slices.ContainsFunc(all, func(name string) bool { return sameRecipient(name, recipient) }), nil
}

// refuseUnconfirmed keeps a new data key from whoever was not confirmed here, the one
// that is going to be removed apart.
func (p Project) refuseUnconfirmed(ctx context.Context, ids *Identities, files []string, but string) error {
	var names []string
	for _, file := range files {
		data, err := p.in(file).read()
		if err != nil {
			return err
		}
		report, err := VerifyFile(file, data, ids)
		if err != nil {
			return err
		}
		names = append(names, bare(report.metadata.KeyGroups)...)
	}
	ruled, err := p.recipientsOf(files)
	if err != nil {
		return err
	}
	unknown, err := p.unconfirmed(ctx, ids, without(append(ruled, names...), but))
	if err != nil || len(unknown) == 0 {
		return err
	}
	return fail(ErrUnconfirmed, next.Say("Run %s, which asks about each of them; or remove them from .sops.yaml.", next.Target("secrets:init")),
		"a new key would be encrypted for %s", shortAll(unknown))
}

// dropFromRules removes a recipient from .sops.yaml, unless that was done.
func (p Project) dropFromRules(ctx context.Context, files []string, recipient string) error {
	ruled, err := p.recipientsOf(files)
	if err != nil || !slices.Contains(ruled, recipient) {
		return err
	}
	old, err := os.ReadFile(p.RulesFile())
	if err != nil {
		return fail(err, next.Words("Check the file's owner and mode."), "reading .sops.yaml")
	}
	text, err := removeRecipient(string(old), recipient, files...)
	if err != nil {
		return fail(err, next.Say("Remove it by hand, then run %s.", next.Target("secrets:revoke", recipient)), "changing .sops.yaml")
	}
	if err := replaceFile(ctx, p.RulesFile(), old, []byte(text), 0o644); err != nil {
		return fail(err, next.Words("Check that nobody else changes it."), "writing .sops.yaml")
	}
	return nil
}

// history finds the commits in which one of the files is encrypted to a recipient:
// with its key, their values can be read for ever.
func (p Project) history(ctx context.Context, files []string, recipient string) ([]string, error) {
	repo := git.In(p.Dir)
	if inside, err := repo.Inside(ctx); err != nil || !inside {
		if err == nil {
			err = git.ErrNoRepository
		}
		return nil, err
	}
	if shallow, err := repo.Shallow(ctx); err != nil || shallow {
		return nil, errors.Join(err, git.ErrShallow)
	}
	var commits []string
	for _, file := range files {
		versions, err := repo.Versions(ctx, file)
		if err != nil {
			return nil, err
		}
		for _, commit := range versions {
			data, ok, err := repo.File(ctx, commit, file)
			if err != nil {
				return nil, err
			}
			if ok && strings.Contains(string(data), recipient) && !slices.Contains(commits, commit) {
				commits = append(commits, commit)
			}
		}
	}
	return commits, nil
}

// RecipientNamed finds the recipient that a person means: it itself, or the one that
// .sops.yaml calls by that name in a comment or an anchor.
func RecipientNamed(dir, who string) (string, error) {
	text, err := os.ReadFile(Project{Dir: dir}.RulesFile())
	if err != nil {
		return "", fail(err, next.Say("Run %s.", next.Target("secrets:init")), "reading .sops.yaml")
	}
	if strings.Contains(string(text), who) && (strings.HasPrefix(who, "age1") || strings.HasPrefix(who, "ssh-")) {
		return who, nil
	}
	var found []string
	for recipient, owner := range owners(string(text)) {
		if owner == who || owner == "host "+who {
			found = append(found, recipient)
		}
	}
	slices.Sort(found)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fail(ErrUnknownName, next.Say("Name a recipient of .sops.yaml, or one by its comment there. A server that has the key of this machine has none of its own: take it out of vps.yaml, then run %s.",
			next.Target("secrets:rotate")), "no recipient of .sops.yaml is %q", who)
	}
	return "", fail(nil, next.Words("Name the one that you mean."), "%q is the comment of several recipients: %s", who, shortAll(found))
}

// String says what is left to do.
func (r *Revoked) String() string {
	return fmt.Sprintf("%s can decrypt nothing that is written from now on; it could read %d secrets", short(r.Recipient), len(r.Names))
}
