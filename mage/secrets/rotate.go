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
	"github.com/dagadbm/vps/mage/internal/trust"
)

// RotateHosts is what rotating the key has to do on servers. Each call is
// repeated if a rotation is run again, and must not mind.
type RotateHosts interface {
	// Look logs in, verifies the host key, and tells who answers there.
	Look(ctx context.Context, host string) (HostSeen, error)
	// PutIdentities replaces the server's key.txt atomically, mode 0600, but for the
	// identities in it whose hashes are in keep. It must refuse a server with another
	// address or host key than seen.
	PutIdentities(ctx context.Context, host string, seen HostSeen, keyFile []byte, keep ...string) error
	// Deploy is update with its confirmation.
	Deploy(ctx context.Context, host string) error
	// OldStillNeeded reports whether a generation that the server keeps has
	// secrets that are encrypted to one of oldRecipients and not to newRecipient,
	// or may have.
	OldStillNeeded(ctx context.Context, host string, oldRecipients []string, newRecipient string) (bool, error)
}

// HostSeen is the server that answers for a host, and what it says of its keys.
type HostSeen struct {
	Address string // with the port
	HostKey string // the fingerprint that was verified, SHA256:…
	// Hashes are what [Identities.Hashes] is for the server's key.txt, computed
	// there: the key itself is never read back. Who knows the hash of a key has
	// the key.
	Hashes []string
	// Own says that the server decrypts with a key that is not on this machine:
	// one of its own, or its SSH host key. It is never given one of this machine.
	Own bool
	// SSHOnly says that it is the SSH host key.
	SSHOnly bool
	// SSH are the age recipients of the SSH host keys that it decrypts with; nil is
	// unknown.
	SSH []string
	// Files are the sops files that the host's secrets lie in; nil is unknown,
	// and stands for all.
	Files []string
	// Note is what else a person should know, such as who deployed there last.
	Note string
}

// RotateOptions say what to rotate on.
type RotateOptions struct {
	Console Console
	Hosts   []string // all of them, by the names they are called
	Remote  RotateHosts
	Accept  []string                 // fingerprints of host keys that are confirmed beforehand
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
	files   []string            // all sops files of the project
	seen    map[string]HostSeen // who answers for a host, this time
	record  trust.Record        // what was confirmed on this machine
	faults  []error             // of single hosts
}

// Rotate replaces the age key of the project in dir, as one transaction over
// all hosts that can be interrupted anywhere and is finished by calling Rotate
// again. Its order locks nobody out:
//
//  1. the servers that a key would go to are shown, and confirmed by a person
//  2. a new key, beside the old one in secrets/age-key.txt
//  3. every sops file is encrypted to both
//  4. every host gets both keys, then the secrets
//  5. every sops file is encrypted to the new key only, with a new data key
//  6. every host gets the secrets
//  7. every host loses the old key, once no generation that it keeps needs it
//  8. the old key leaves secrets/age-key.txt for a file with the date
//
// Steps 5 and 8 wait until all hosts are done with what comes before. A host
// that cannot be reached is named in the error, and the others go on.
//
// Nobody else is let in on the way: where the files or .sops.yaml name a
// recipient that was not confirmed on this machine, nothing is begun.
func Rotate(ctx context.Context, dir string, options RotateOptions) error {
	if len(options.Hosts) > 0 && options.Remote == nil {
		return errors.New("rotating the key needs a way to reach the hosts")
	}
	r := &rotation{RotateOptions: options.complete(), project: Project{Dir: dir}, seen: map[string]HostSeen{}}
	for _, step := range []func(context.Context) error{r.begin, r.meet, r.newKey, r.addRecipient, r.share, r.removeOld, r.push, r.forget, r.retire} {
		if err := ctx.Err(); err != nil {
			return r.explain(err)
		}
		if err := step(ctx); err != nil {
			return r.explain(err)
		}
	}
	return nil
}

// complete fills in what is usual.
func (o RotateOptions) complete() RotateOptions {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.work == 0 {
		o.work = scryptWork
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// errWaiting ends a run that has done all it can for now, and is no fault.
var errWaiting = errors.New("old key still needed")

func (r *rotation) explain(err error) error {
	if errors.Is(err, errWaiting) {
		return nil
	}
	if declined := (*trust.DeclinedError)(nil); errors.As(err, &declined) || errors.Is(err, ErrUnconfirmed) {
		return err // it says how to go on
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
	if r.files, err = Files(ctx, r.project.Dir); err != nil {
		return err
	}
	if len(r.files) == 0 {
		return fail(ErrMissing, next.Say("Run %s.", next.Target("secrets:init")), "there is no sops file that a rule of .sops.yaml matches")
	}
	if err := r.widensNothing(ctx); err != nil {
		return err
	}
	if r.state.saved != nil {
		r.Console.Say("resuming the rotation of %s", r.state.Started.Format(time.DateOnly))
		return nil
	}
	return r.plan()
}

// widensNothing refuses recipients, in .sops.yaml or in a file, that nobody has
// confirmed on this machine: each new data key would be encrypted to them.
func (r *rotation) widensNothing(ctx context.Context) error {
	return r.project.refuseUnconfirmed(ctx, r.ids, r.files, "")
}

// plan decides which keys are replaced: those of ours that are recipients.
func (r *rotation) plan() error {
	for _, file := range r.files {
		report, err := r.project.in(file).Verify(r.ids)
		if err != nil {
			return err
		}
		for _, recipient := range r.ids.Only(bare(report.metadata.KeyGroups)).Recipients() {
			if !slices.Contains(r.state.Old, recipient) {
				r.state.Old = append(r.state.Old, recipient)
			}
		}
	}
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

// fault notes why a host is left behind.
func (r *rotation) fault(host string, err error) {
	r.faults = append(r.faults, fmt.Errorf("%s: %w", host, err))
	r.Console.Say("%s: %v", host, err)
}

// eachHost does something on every host that has not come as far as step. One
// that fails is named and does not stop the others; an interrupt does.
func (r *rotation) eachHost(ctx context.Context, from, step hostStep, work func(context.Context, string) error) error {
	for _, host := range r.Hosts {
		if r.state.Hosts[host] < from || r.state.Hosts[host] >= step {
			continue
		}
		if _, answers := r.seen[host]; !answers {
			continue // its fault is known
		}
		err := work(ctx, host)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errWaiting) {
			continue
		}
		if err != nil {
			r.fault(host, err)
			continue
		}
		if err := r.state.reached(ctx, host, step); err != nil {
			return err
		}
	}
	return nil
}

// meet looks who answers for each host and asks a person, once, about those
// that a private key would go to. A server proves that it has a key by knowing its
// hash; one that has all keys already is given nothing, and not asked about.
func (r *rotation) meet(ctx context.Context) error {
	record, err := trust.Load(ctx, r.project.Dir)
	if err != nil {
		return err
	}
	r.record = record
	var items []trust.Item
	for _, host := range r.Hosts {
		if r.state.Hosts[host] >= stepForgot {
			continue
		}
		seen, err := r.Remote.Look(ctx, host)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.fault(host, fmt.Errorf("looking who answers there: %w", err))
			continue
		}
		if seen.Own && !seen.SSHOnly && slices.ContainsFunc(r.ids.Hashes(), func(hash string) bool { return slices.Contains(seen.Hashes, hash) }) {
			r.fault(host, fail(nil, next.Target("secrets:rotate", "-host="+host),
				"vps.yaml says ageKey: own, and it still has the age key of this machine: give it one of its own first"))
			continue
		}
		r.seen[host] = seen
		if !seen.Own && !r.hasAll(seen) {
			items = append(items, trust.Item{Name: seen.HostKey, Text: r.describe(record, host, seen)})
		}
	}
	if len(items) == 0 {
		return nil
	}
	return trust.Confirm(ctx, person{r.Console}, trust.Question{
		Doing: "rotating the key",
		What:  "would be given the private keys that decrypt the secrets",
		Items: items,
		Ask:   "Is each of them your server, with the address and host key that you expect?",
		No:    next.Say("See who changed what you do not expect: %s.", next.Shell("git", "log", "-p", "--", "vps.yaml")),
		Rerun: next.Command{Target: "secrets:rotate"},
	}, r.Accept)
}

// hasAll reports whether a server has the new key and those that it replaces.
func (r *rotation) hasAll(seen HostSeen) bool {
	if r.state.New == "" {
		return false
	}
	return len(trust.Missing(seen.Hashes, r.both().Hashes())) == 0
}

// describe is a server as a person compares it.
func (r *rotation) describe(record trust.Record, host string, seen HostSeen) string {
	text := fmt.Sprintf("%s: %s, host key %s", host, seen.Address, seen.HostKey)
	if changed := record.Changed(host, trust.Host{Address: seen.Address, HostKey: seen.HostKey}); changed != "" {
		text += "; " + changed
	}
	if len(trust.Missing(seen.Hashes, r.ids.Only(r.state.Old).Hashes())) > 0 {
		text += "; it does NOT have the present key"
	} else {
		text += "; it has the present key"
	}
	if seen.Note != "" {
		text += "; " + seen.Note
	}
	return text
}

// share gives every host both keys, and secrets that both decrypt.
func (r *rotation) share(ctx context.Context) error {
	if r.state.Phase != phaseShare {
		return nil
	}
	return r.eachHost(ctx, stepNone, stepShared, func(ctx context.Context, host string) error {
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
		r.Console.Say("%s: deploying secrets for the new key only", host)
		return r.deploy(ctx, host)
	})
}

// forget takes the old key from the hosts that need it no longer.
func (r *rotation) forget(ctx context.Context) error {
	err := r.eachHost(ctx, stepPushed, stepForgot, func(ctx context.Context, host string) error {
		if r.seen[host].Own {
			return nil // it was given none
		}
		needed, err := r.Remote.OldStillNeeded(ctx, host, r.state.Old, r.state.New)
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
	seen := r.seen[host]
	if seen.Own {
		return nil
	}
	for _, hash := range seen.Hashes {
		if !slices.Contains(r.ids.Hashes(), hash) {
			return fail(nil, next.Words("Put that key into secrets/age-key.txt too, or remove it from the server if nothing there needs it."),
				"the server has an age key that is not in %s (SHA-256 %.12s…)", r.project.KeyFile(), hash)
		}
	}
	if slices.Equal(seen.Hashes, ids.Hashes()) {
		return nil
	}
	r.Console.Say("%s: writing its age keys", host)
	if err := r.Remote.PutIdentities(ctx, host, seen, ids.KeyFile()); err != nil {
		return fmt.Errorf("writing its keys: %w", err)
	}
	after, err := r.Remote.Look(ctx, host)
	if err != nil {
		return fmt.Errorf("comparing its keys: %w", err)
	}
	if !slices.Equal(after.Hashes, ids.Hashes()) {
		return errors.New("the keys on the server are not the ones that were written")
	}
	seen.Hashes = after.Hashes
	r.seen[host] = seen
	return trust.Change(ctx, r.project.Dir, func(t *trust.Record) {
		t.Confirm(host, trust.Host{Address: seen.Address, HostKey: seen.HostKey, When: r.Now().UTC()})
	})
}

// deploy deploys the sops files, after finding out here that one of the keys that
// the host has decrypts each that it needs.
func (r *rotation) deploy(ctx context.Context, host string) error {
	seen := r.seen[host]
	files := seen.Files
	if files == nil {
		files = r.files
	}
	for _, file := range files {
		report, err := r.project.in(file).Verify(r.ids)
		if err != nil {
			return err
		}
		if !r.serverDecrypts(host, seen, report) {
			return fmt.Errorf("none of the server's keys decrypts %s; nothing was deployed", file)
		}
	}
	return r.Remote.Deploy(ctx, host)
}

// serverDecrypts reports whether the host can decrypt a file, as far as that is known.
func (r *rotation) serverDecrypts(host string, seen HostSeen, report *Report) bool {
	switch {
	case report.CanDecrypt(seen.Hashes):
		return true
	case !seen.Own:
		return false
	case seen.SSHOnly:
		return seen.SSH == nil || slices.ContainsFunc(seen.SSH, func(name string) bool { return slices.Contains(report.Recipients, name) })
	}
	decrypts, made := report.Server(r.record, host, seen.Hashes)
	return decrypts || !made
}
