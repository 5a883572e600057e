package secrets

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// eachHost does something on every host that has not come as far as step. One
// that fails is named and does not stop the others; an interrupt does.
func (r *rotation) eachHost(ctx context.Context, from, step hostStep, work func(context.Context, string) error) error {
	for _, host := range r.Hosts {
		if r.state.Hosts[host] < from || r.state.Hosts[host] >= step {
			continue
		}
		err := work(ctx, host)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errWaiting) {
			continue
		}
		if err != nil {
			r.faults = append(r.faults, fmt.Errorf("%s: %w", host, err))
			r.Console.Say("%s: %v", host, err)
			continue
		}
		if err := r.state.reached(ctx, host, step); err != nil {
			return err
		}
	}
	return nil
}

// share gives every host both keys, and secrets that both decrypt.
func (r *rotation) share(ctx context.Context) error {
	if r.state.Phase != phaseShare {
		return nil
	}
	return r.eachHost(ctx, stepNone, stepShared, func(ctx context.Context, host string) error {
		r.Console.Say("%s: putting the new key beside the old one", host)
		if err := r.put(ctx, host, r.both()); err != nil {
			return err
		}
		return r.deploy(ctx, host)
	})
}

// push gives every host the secrets that only the new key decrypts. A host that
// came after the sharing gets the keys first.
func (r *rotation) push(ctx context.Context) error {
	return r.eachHost(ctx, stepNone, stepPushed, func(ctx context.Context, host string) error {
		if r.state.Hosts[host] < stepShared {
			if err := r.put(ctx, host, r.both()); err != nil {
				return err
			}
		}
		r.Console.Say("%s: pushing secrets for the new key only", host)
		return r.deploy(ctx, host)
	})
}

// forget takes the old key from the hosts that need it no longer.
func (r *rotation) forget(ctx context.Context) error {
	err := r.eachHost(ctx, stepPushed, stepForgot, func(ctx context.Context, host string) error {
		needed, err := r.Remote.OldStillNeeded(ctx, host, r.state.New)
		if err != nil {
			return fmt.Errorf("asking which generations need the old key: %w", err)
		}
		if needed {
			return errWaiting
		}
		return r.put(ctx, host, r.ids.Only([]string{r.state.New}))
	})
	if err != nil {
		return err
	}
	if len(r.faults) > 0 {
		return errors.Join(r.faults...)
	}
	return nil
}

func (r *rotation) both() *Identities {
	return r.ids.Only(append([]string{r.state.New}, r.state.Old...))
}

// put replaces a host's key file and compares what is there afterwards. A key
// there that is not at hand here would be lost, so it is refused.
func (r *rotation) put(ctx context.Context, host string, ids *Identities) error {
	before, err := r.Remote.IdentityHashes(ctx, host)
	if err != nil {
		return fmt.Errorf("asking for its keys: %w", err)
	}
	for _, hash := range before {
		if !slices.Contains(r.ids.Hashes(), hash) {
			return fail(nil, "Put that key into secrets/age-key.txt too, or remove it from the server if nothing there needs it.",
				"the server has an age key that is not in %s (SHA-256 %.12s…)", r.project.KeyFile(), hash)
		}
	}
	if slices.Equal(before, ids.Hashes()) {
		return nil
	}
	if err := r.Remote.PutIdentities(ctx, host, ids.KeyFile()); err != nil {
		return fmt.Errorf("writing its keys: %w", err)
	}
	after, err := r.Remote.IdentityHashes(ctx, host)
	if err != nil {
		return fmt.Errorf("comparing its keys: %w", err)
	}
	if !slices.Equal(after, ids.Hashes()) {
		return errors.New("the keys on the server are not the ones that were written")
	}
	return nil
}

// deploy pushes secrets.yaml, after finding out here that one of the keys that
// the host has decrypts it.
func (r *rotation) deploy(ctx context.Context, host string) error {
	hashes, err := r.Remote.IdentityHashes(ctx, host)
	if err != nil {
		return fmt.Errorf("asking for its keys: %w", err)
	}
	report, err := Verify(ctx, r.project.Dir, r.ids)
	if err != nil {
		return err
	}
	if !report.CanDecrypt(hashes) {
		return errors.New("none of the server's keys decrypts secrets.yaml; it was not deployed")
	}
	return r.Remote.Deploy(ctx, host)
}
