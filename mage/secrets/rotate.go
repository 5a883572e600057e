package secrets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
)

// RotateHosts is what rotating the key has to do on servers. Each call is
// repeated if a rotation is run again, and must not mind.
type RotateHosts interface {
	// PutIdentities replaces the server's key.txt atomically, mode 0600.
	PutIdentities(ctx context.Context, host string, keyFile []byte) error
	// IdentityHashes returns what [Identities.Hashes] is for the server's
	// key.txt, computed there: the key itself is never read back.
	IdentityHashes(ctx context.Context, host string) ([]string, error)
	// Deploy is update with its confirmation.
	Deploy(ctx context.Context, host string) error
	// OldStillNeeded reports whether a generation that the server keeps has
	// secrets that are not encrypted to newRecipient.
	OldStillNeeded(ctx context.Context, host, newRecipient string) (bool, error)
}

// RotateOptions say what to rotate on.
type RotateOptions struct {
	Console Console
	Hosts   []string // all of them, by the names they are called
	Remote  RotateHosts
	Getenv  func(name string) string // os.Getenv
	Ask     AskPassphrase
	Now     func() time.Time // time.Now

	work int // of a passphrase; scryptWork, but less in tests
}

// rotation is one call of Rotate.
type rotation struct {
	RotateOptions
	project Project
	ids     *Identities
	state   *rotationState
	faults  []error // of single hosts
}

// Rotate replaces the age key of the project in dir, as one transaction over
// all hosts that can be interrupted anywhere and is finished by calling Rotate
// again. Its order locks nobody out:
//
//  1. a new key, beside the old one in secrets/age-key.txt
//  2. secrets.yaml is encrypted to both
//  3. every host gets both keys, then the secrets
//  4. secrets.yaml is encrypted to the new key only, with a new data key
//  5. every host gets the secrets
//  6. every host loses the old key, once no generation that it keeps needs it
//  7. the old key leaves secrets/age-key.txt for a file with the date
//
// Steps 4 and 7 wait until all hosts are done with what comes before. A host
// that cannot be reached is named in the error, and the others go on.
func Rotate(ctx context.Context, dir string, options RotateOptions) error {
	if len(options.Hosts) > 0 && options.Remote == nil {
		return errors.New("rotating the key needs a way to reach the hosts")
	}
	r := &rotation{RotateOptions: options, project: Project{Dir: dir}}
	if r.Getenv == nil {
		r.Getenv = os.Getenv
	}
	if r.work == 0 {
		r.work = scryptWork
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	for _, step := range []func(context.Context) error{r.begin, r.newKey, r.addRecipient, r.share, r.removeOld, r.push, r.forget, r.retire} {
		if err := ctx.Err(); err != nil {
			return r.explain(err)
		}
		if err := step(ctx); err != nil {
			return r.explain(err)
		}
	}
	return nil
}

// errWaiting ends a run that has done all it can for now, and is no fault.
var errWaiting = errors.New("old key still needed")

func (r *rotation) explain(err error) error {
	if errors.Is(err, errWaiting) {
		return nil
	}
	return fail(err, next.Say("Run %s again when that is solved: it goes on where it was, and until then everything works with the keys there are.", next.Target("secrets:rotate")),
		"the rotation is not finished")
}

// begin reads the key and, if there is one, the unfinished rotation.
func (r *rotation) begin(ctx context.Context) (err error) {
	if r.ids, err = (Sources{Dir: r.project.Dir, Getenv: r.Getenv, Ask: r.Ask}).Load(ctx); err != nil {
		return err
	}
	if r.ids.IsExample() {
		return fail(ErrExampleKey, makeOwnKey, "there is no key of your own to rotate")
	}
	if r.ids.Source() != r.project.KeyFile() {
		return fail(nil, next.Words("Put the key into secrets/age-key.txt."), "the key is in %s, which other projects may use", r.ids.Source())
	}
	if r.state, err = loadRotation(r.project); err != nil {
		return err
	}
	if r.state.saved != nil {
		r.Console.Say("going on with the rotation of %s", r.state.Started.Format(time.DateOnly))
		return nil
	}
	return r.plan(ctx)
}

// plan decides which keys are replaced: those of ours that are recipients.
func (r *rotation) plan(ctx context.Context) error {
	report, err := Verify(ctx, r.project.Dir, r.ids)
	if err != nil {
		return err
	}
	r.state.Old = r.ids.Only(bare(report.metadata.KeyGroups)).Recipients()
	if len(r.state.Old) == 0 {
		return fail(ErrWrongKey, next.Say("Run %s.", next.Target("secrets:check")), "none of the keys in %s is a recipient by itself", r.ids.Source())
	}
	return nil
}

// retire ends the rotation: the old key leaves the key file.
func (r *rotation) retire(ctx context.Context) error {
	if waiting := r.hostsBefore(stepForgot); len(waiting) > 0 {
		r.Console.Say("the old key stays until these keep no generation that needs it: %s", strings.Join(waiting, ", "))
		r.Console.Say("run `%s` again after some more updates; both keys are in %s until then", next.Target("secrets:rotate"), r.project.KeyFile())
		return errWaiting
	}
	if r.ids.Only(r.state.Old).Len() > 0 {
		path, err := r.retireFile()
		if err != nil {
			return err
		}
		if err := r.writeKeys(ctx, r.ids.without(r.state.Old)); err != nil {
			return err
		}
		r.Console.Say("the old key is in %s; it opens nothing but the past", path)
	}
	if err := r.state.remove(); err != nil {
		return err
	}
	r.Console.Say("done: BACK UP the new %s", r.project.KeyFile())
	r.Console.Say("values that are in git's history stay readable to the old key: change them too, with `%s`", next.Target("secrets:set"))
	return nil
}

// hostsBefore are the hosts that have not come as far as step.
func (r *rotation) hostsBefore(step hostStep) []string {
	return slices.DeleteFunc(slices.Clone(r.Hosts), func(host string) bool { return r.state.Hosts[host] >= step })
}

// barrier refuses to go on before every host has come as far as step.
func (r *rotation) barrier(step hostStep) error {
	if behind := r.hostsBefore(step); len(behind) > 0 {
		return fmt.Errorf("not done on %s: %w", strings.Join(behind, ", "), errors.Join(r.faults...))
	}
	return nil
}

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
			return fail(nil, next.Words("Put that key into secrets/age-key.txt too, or remove it from the server if nothing there needs it."),
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
