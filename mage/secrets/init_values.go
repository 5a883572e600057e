package secrets

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// fill adds the declared names that are not there.
func (b *beginning) fill(ctx context.Context, f *file) error {
	for _, declared := range b.Declared {
		path := declared.path()
		if value, err := lookup(first(f.tree.Branches), path); err == nil && value != nil {
			continue
		}
		value, err := b.value(ctx, formatName(path))
		if err != nil {
			return err
		}
		if value == "" {
			b.Console.Say("%s is declared and not set: `mage secrets:set %s`", formatName(path), formatName(path))
			continue
		}
		if err := f.set(path, value); err != nil {
			return err
		}
	}
	return nil
}

// value makes or asks for a value; empty means later.
func (b *beginning) value(ctx context.Context, name string) (string, error) {
	switch {
	case name == tokenName:
		token := make([]byte, tokenSize)
		_, _ = rand.Read(token) // crypto/rand never fails
		b.Console.Say("made a random %s", name)
		return hex.EncodeToString(token), nil
	case name == sshKeyName:
		return b.sshKey(ctx)
	case !b.Console.Interactive():
		return "", nil
	}
	value, err := b.Console.AskHidden(ctx, fmt.Sprintf("Value of %s (Enter: later): ", name))
	if err != nil || value == "" {
		return "", err
	}
	return value, checkValue(value)
}
