package secrets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// rules makes .sops.yaml name our recipient.
func (b *beginning) rules(ctx context.Context) error {
	recipient := b.ids.Recipients()[0]
	loaded, err := loadRules(b.project)
	if errors.Is(err, ErrMissing) {
		return b.writeRules(ctx, nil, newRules+recipient+"\n", "made .sops.yaml for "+short(recipient))
	}
	if err != nil {
		return err
	}
	named := bare(loaded.creation.KeyGroups)
	switch {
	case b.ids.Only(named).Len() > 0 && !slices.Contains(named, ExampleRecipient):
		return nil
	case slices.Contains(named, ExampleRecipient):
		return b.replaceExample(ctx, recipient, b.ids.Only(named).Len() > 0)
	}
	return fail(ErrWrongKey, "Send the recipient to one of them, who adds it to .sops.yaml, runs `mage secrets:init` and commits.",
		".sops.yaml names others only; your recipient is %s", recipient)
}

func (b *beginning) replaceExample(ctx context.Context, recipient string, ours bool) error {
	old, err := os.ReadFile(b.project.RulesFile())
	if err != nil {
		return fail(err, "Check the file's owner and mode.", "reading .sops.yaml")
	}
	var text string
	if ours {
		text, err = removeRecipient(string(old), ExampleRecipient)
	} else {
		text, err = replaceRecipient(string(old), ExampleRecipient, recipient)
	}
	if err != nil {
		return fail(err, fmt.Sprintf("Put %s in the place of %s by hand, then run `mage secrets:init` again.", recipient, ExampleRecipient), "changing .sops.yaml")
	}
	return b.writeRules(ctx, old, text, "put your recipient into .sops.yaml, in the place of the public example: "+short(recipient))
}

func (b *beginning) writeRules(ctx context.Context, old []byte, text, done string) error {
	if err := replaceFile(ctx, b.project.RulesFile(), old, []byte(text), 0o644); err != nil {
		return fail(err, "Run `mage secrets:init` again.", "writing .sops.yaml")
	}
	b.did("%s", done)
	return nil
}
