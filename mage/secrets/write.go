package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// lockWait is how long to wait for another of our processes: it holds the lock
// for one write.
const lockWait = 5 * time.Second

// replaceFile replaces path by data in one step, or creates it with mode if
// there is none. The old file stays on every failure, a full disk included. If
// path no longer holds old (nil: does not exist), the error is [ErrChanged].
func replaceFile(ctx context.Context, path string, old, data []byte, mode fs.FileMode) error {
	path, err := resolve(path)
	if err != nil {
		return err
	}
	dir, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	removeStale(path)
	now, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		now, err = nil, nil
	} else if err == nil && now == nil {
		now = []byte{}
	}
	if err != nil {
		return fmt.Errorf("comparing before writing: %w", err)
	}
	if (now == nil) != (old == nil) || !bytes.Equal(now, old) {
		return ErrChanged
	}
	return writeAtomic(ctx, dir, path, data, mode)
}

func writeAtomic(ctx context.Context, dir *os.File, path string, data []byte, mode fs.FileMode) error {
	pending, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir.Name()),
		renameio.WithPermissions(mode), renameio.IgnoreUmask(), renameio.WithExistingPermissions())
	if err != nil {
		return fmt.Errorf("making a new file beside the old one: %w", err)
	}
	defer pending.Cleanup()
	if _, err := pending.Write(data); err != nil {
		return fmt.Errorf("writing the new file: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := pending.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing the new file: %w", err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("the new file is in place, but may not survive a power cut: %w", err)
	}
	return nil
}

// resolve follows a symlink, so that its target is replaced and not the link.
func resolve(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return target, err
}

// lockDir opens a folder and locks it against our other processes. Closing it,
// or dying, gives the lock back; no lock file is left.
func lockDir(ctx context.Context, path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		if wait(ctx, 20*time.Millisecond) != nil {
			break
		}
	}
	dir.Close()
	return nil, fmt.Errorf("locking %q: %w", path, err)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// removeStale removes what a killed writer left beside path; the caller holds
// the lock, so there is no living one.
func removeStale(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return // the write that follows says why
	}
	stale := regexp.MustCompile(`^\.` + regexp.QuoteMeta(filepath.Base(path)) + `[0-9]{6,}$`)
	for _, entry := range entries {
		if stale.MatchString(entry.Name()) {
			_ = os.Remove(filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
}

// checkWritable finds out before a person edits whether the result can be kept.
func checkWritable(path string) error {
	path, err := resolve(path)
	if err != nil {
		return err
	}
	probe, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"000000")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// open decrypts the project's file and returns its bytes too, with which save
// can tell whether somebody else has changed it.
func (p Project) open(ids *Identities) (*file, []byte, error) {
	rules, err := loadRules(p)
	if err != nil {
		return nil, nil, err
	}
	data, err := p.read()
	if err != nil {
		return nil, nil, err
	}
	f, err := openHinted(data, ids, rules.stores, p.SecretsFile())
	if err == nil && (ids.IsExample() || slices.Contains(bare(f.tree.Metadata.KeyGroups), ExampleRecipient)) {
		err = fail(ErrExampleKey, makeOwnKey, "refusing to put secrets into %q, which everybody can decrypt", p.SecretsFile())
	}
	return f, data, err
}

// save writes f in the place of old and reports whether there was a difference.
func (p Project) save(ctx context.Context, ids *Identities, f *file, old []byte) (changed bool, err error) {
	data, err := f.sealChecked(ids)
	if err != nil {
		return false, err
	}
	same, err := f.sameAs(old, ids)
	if err != nil || same {
		return false, err
	}
	if err := p.writeSecrets(ctx, old, data); err != nil {
		return false, err
	}
	return true, p.rememberLogins(ctx, old, data, ids)
}

// rememberLogins notes the login keys that a person added with this very command
// as confirmed: no update asks about them again.
func (p Project) rememberLogins(ctx context.Context, old, data []byte, ids *Identities) error {
	change, err := Compare(p.name(), old, data, ids)
	if err != nil || change.Unknown != nil || len(change.LoginAdded) == 0 {
		return err
	}
	return ConfirmLogins(ctx, p.Dir, change.LoginAdded)
}

func (p Project) writeSecrets(ctx context.Context, old, data []byte) error {
	err := replaceFile(ctx, p.SecretsFile(), old, data, 0o644)
	if errors.Is(err, ErrChanged) {
		return fail(err, next.Say("Look at the other change with %s, then run the command again.", next.Shell("git", "diff")), "writing %q", p.SecretsFile())
	}
	if err != nil {
		return fail(err, next.Words("The file is as it was; make room or correct the permissions, then run the command again."), "writing %q", p.SecretsFile())
	}
	return nil
}

// sameAs reports whether the old file holds the same values, comments and
// recipients, so that there is nothing to write.
func (f *file) sameAs(old []byte, ids *Identities) (bool, error) {
	before, err := openLike(f, old, ids)
	if err != nil {
		return false, nil // nothing that can be read is being replaced
	}
	was, err := before.plain()
	if err != nil {
		return false, err
	}
	is, err := f.plain()
	return err == nil && bytes.Equal(was, is) && bytes.Equal(before.dataKey, f.dataKey) &&
		sameSelection(before.tree.Metadata, f.tree.Metadata), err
}

// sealChecked encrypts, and decrypts what came out: nothing that we could not
// read again, or that reads differently, ever replaces a file.
func (f *file) sealChecked(ids *Identities) ([]byte, error) {
	data, err := f.seal()
	if err != nil {
		return nil, err
	}
	again, err := openLike(f, data, ids)
	if err != nil {
		return nil, fmt.Errorf("reading back what was encrypted: %w", err)
	}
	was, err := f.plain()
	if err != nil {
		return nil, err
	}
	is, err := again.plain()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(was, is) {
		return nil, errors.New("what was encrypted reads differently when it is decrypted; a value or comment is of a form that sops does not keep")
	}
	return data, nil
}

// NewDataKey encrypts all values of the file with a new data key, to the
// recipients that it has: who once had the old one can read nothing that comes.
// Where one of them was not confirmed on this machine, it is refused.
func (p Project) NewDataKey(ctx context.Context, ids *Identities) error {
	f, old, err := p.open(ids)
	if err != nil {
		return err
	}
	unknown, err := p.unconfirmed(ctx, ids, bare(f.tree.Metadata.KeyGroups))
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		return fail(ErrUnconfirmed, next.Say("Run %s, which asks about each of them; or remove them from .sops.yaml.", next.Target("secrets:init")),
			"a new data key would be encrypted for %s", shortAll(unknown))
	}
	if err := f.newDataKey(); err != nil {
		return err
	}
	data, err := f.sealChecked(ids)
	if err != nil {
		return err
	}
	return p.writeSecrets(ctx, old, data)
}

// realign encrypts the file to the recipients of .sops.yaml and reports whether
// that changed anything. With allowed, others than those and the ones that the
// file has are refused.
func (p Project) realign(ctx context.Context, ids *Identities, allowed []string) (changed bool, err error) {
	f, old, err := p.open(ids)
	if err != nil {
		return false, err
	}
	rules, err := loadRules(p)
	if err != nil {
		return false, err
	}
	have, want := recipients(f.tree.Metadata.KeyGroups), recipients(rules.creation.KeyGroups)
	if slices.Equal(have, want) {
		return false, nil
	}
	if allowed != nil {
		known := slices.Concat(bare(f.tree.Metadata.KeyGroups), allowed)
		if added := trust.Missing(known, bare(rules.creation.KeyGroups)); len(added) > 0 {
			return false, fail(nil, next.Say("Run %s, which asks about whoever is added, then run this again.", next.Target("secrets:init")),
				".sops.yaml would let in who cannot decrypt %s now: %s", p.name(), shortAll(added))
		}
	}
	if _, err := f.align(rules); err != nil {
		return false, err
	}
	data, err := f.sealChecked(ids)
	if err != nil {
		return false, err
	}
	return true, p.writeSecrets(ctx, old, data)
}

// align encrypts to the recipients of r. If one has gone, the data key is made
// new too, so that it cannot read what comes.
func (f *file) align(r *rules) (removed bool, err error) {
	want, have := recipients(r.creation.KeyGroups), recipients(f.tree.Metadata.KeyGroups)
	if slices.Equal(have, want) {
		return false, nil
	}
	f.tree.Metadata.KeyGroups = r.creation.KeyGroups
	f.tree.Metadata.ShamirThreshold = r.creation.ShamirThreshold
	if slices.ContainsFunc(have, func(name string) bool { return !slices.Contains(want, name) }) {
		return true, f.newDataKey()
	}
	return false, rewrap(&f.tree.Metadata, f.dataKey)
}
