package secrets

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
)

// Who may decrypt is decided by persons, each on his own machine. That a sops file
// names a recipient proves nothing: anybody can write a name and any text as its
// encrypted data key into the file. So every recipient that was not confirmed here
// is asked about before anything is encrypted to it.

// person answers yes or no at a console.
type person struct{ Console }

func (p person) Ask(ctx context.Context, question string) (string, error) {
	return p.Console.Ask(ctx, question+" Type yes to go on: ")
}

// unconfirmed are the recipients among names that are neither one's own nor
// confirmed on this machine.
func (p Project) unconfirmed(ctx context.Context, ids *Identities, names []string) ([]string, error) {
	record, err := trust.Load(ctx, p.Dir)
	if err != nil {
		return nil, err
	}
	known := slices.Concat(record.Recipients, ids.Recipients(), []string{ExampleRecipient})
	return trust.Missing(known, names), nil
}

// confirmRecipients asks about recipients and remembers the answer.
func (p Project) confirmRecipients(ctx context.Context, console Console, names, accepted []string, rerun next.Command) error {
	if len(names) == 0 {
		return nil
	}
	text, _ := os.ReadFile(p.RulesFile()) // without it nobody is named
	whose := owners(string(text))
	var items []trust.Item
	for _, name := range names {
		items = append(items, trust.Item{Name: name, Text: describe(name, whose)})
	}
	err := trust.Confirm(ctx, person{console}, trust.Question{
		Doing: "encrypting the secrets",
		What:  "would be able to decrypt every secret of these files",
		Items: items,
		Ask:   "Do you know each of them, from somewhere else than this repository?",
		No:    next.Say("Remove those that you do not know from .sops.yaml; %s shows who added them.", next.Shell("git", "log", "-p", "--", ".sops.yaml")),
		Rerun: rerun,
	}, accepted)
	if err != nil {
		return err
	}
	return trust.Change(ctx, p.Dir, func(r *trust.Record) { r.Recipients = append(r.Recipients, names...) })
}

// ConfirmLogins notes login keys as confirmed on this machine.
func ConfirmLogins(ctx context.Context, dir string, keys []LoginKey) error {
	if len(keys) == 0 {
		return nil
	}
	return trust.Change(ctx, dir, func(r *trust.Record) {
		for _, key := range keys {
			r.LoginKeys = append(r.LoginKeys, key.ID())
		}
	})
}

// UnconfirmedLogins are the keys that were not confirmed on this machine.
func UnconfirmedLogins(ctx context.Context, dir string, keys []LoginKey) ([]LoginKey, error) {
	record, err := trust.Load(ctx, dir)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(keys), func(key LoginKey) bool { return slices.Contains(record.LoginKeys, key.ID()) }), nil
}

// recipientsOf are the recipients that the rules for files name, without
// duplicates.
func (p Project) recipientsOf(files []string) ([]string, error) {
	var out []string
	for _, file := range files {
		rules, err := loadRules(p.in(file))
		if err != nil {
			return nil, err
		}
		out = append(out, bare(rules.creation.KeyGroups)...)
	}
	slices.SortFunc(out, strings.Compare)
	return slices.Compact(out), nil
}
