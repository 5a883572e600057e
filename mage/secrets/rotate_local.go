package secrets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/dagadbm/vps/mage/internal/next"
)

// newKey puts a new identity beside the old ones. The plan is remembered first:
// a key that no plan names is never made twice, and never forgotten.
func (r *rotation) newKey(ctx context.Context) error {
	if r.state.New != "" && slices.Contains(r.ids.Recipients(), r.state.New) {
		return nil
	}
	if r.state.Phase != phaseNew {
		return fail(ErrNoKey, next.Words("Restore it from your backup."), "the new key %s is not in %s", short(r.state.New), r.project.KeyFile())
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("making an age key: %w", err)
	}
	r.state.New, r.state.Started = key.Recipient().String(), r.Now().UTC()
	if err := r.state.save(ctx); err != nil {
		return err
	}
	added := &Identities{all: slices.Concat(r.ids.all, []identity{{key, key.String(), r.state.New, native}}),
		source: r.ids.source, passphrase: r.ids.passphrase, once: r.ids.once}
	if err := r.writeKeys(ctx, added); err != nil {
		return err
	}
	r.Console.Say("made a new key in %s: BACK IT UP NOW", r.project.KeyFile())
	return nil
}

// writeKeys replaces secrets/age-key.txt, protected as it was.
func (r *rotation) writeKeys(ctx context.Context, ids *Identities) error {
	old, err := os.ReadFile(r.project.KeyFile())
	if err == nil {
		var data []byte
		if data, err = r.keyFile(ids); err == nil {
			err = replaceFile(ctx, r.project.KeyFile(), old, data, 0o600)
		}
	}
	if err != nil {
		return fail(err, next.Words("Check the folder's owner, mode and free space."), "writing %q; the old file is still there", r.project.KeyFile())
	}
	r.ids = ids
	return nil
}

func (r *rotation) keyFile(ids *Identities) ([]byte, error) {
	var text []byte
	for _, id := range ids.all {
		if id.recipient != "" {
			text = append(text, "# public key: "+id.recipient+"\n"...)
		}
		text = append(text, id.line+"\n"...)
	}
	if ids.passphrase != "" {
		return encryptScrypt(text, ids.passphrase, r.work)
	}
	return text, nil
}

// addRecipient encrypts to the new key beside the old ones.
func (r *rotation) addRecipient(ctx context.Context) error {
	if r.state.Phase != phaseNew {
		return nil
	}
	for _, old := range r.state.Old {
		err := r.changeRules(ctx, func(text string) (string, error) {
			return addRecipient(text, old, r.state.New, r.files...)
		}, func(named []string) bool { return !slices.Contains(named, old) || slices.Contains(named, r.state.New) })
		if err != nil {
			return err
		}
	}
	if err := r.realign(ctx); err != nil {
		return err
	}
	r.state.Phase = phaseShare
	return r.state.save(ctx)
}

// removeOld encrypts to the new key only, with a new data key: no host and
// nobody else needs the old one for what comes.
func (r *rotation) removeOld(ctx context.Context) error {
	if r.state.Phase != phaseShare {
		return nil
	}
	if err := r.barrier(stepShared); err != nil {
		return err
	}
	for _, old := range r.state.Old {
		err := r.changeRules(ctx, func(text string) (string, error) { return removeRecipient(text, old, r.files...) },
			func(named []string) bool { return !slices.Contains(named, old) })
		if err != nil {
			return err
		}
	}
	if err := r.realign(ctx); err != nil {
		return err
	}
	r.state.Phase = phaseReplace
	return r.state.save(ctx)
}

// changeRules changes .sops.yaml, unless done says of each file's recipients that
// it was.
func (r *rotation) changeRules(ctx context.Context, change func(string) (string, error), done func([]string) bool) error {
	all := true
	for _, file := range r.files {
		loaded, err := loadRules(r.project.in(file))
		if err != nil {
			return err
		}
		all = all && done(bare(loaded.creation.KeyGroups))
	}
	if all {
		return nil
	}
	old, err := os.ReadFile(r.project.RulesFile())
	if err != nil {
		return fail(err, next.Words("Check the file's owner and mode."), "reading .sops.yaml")
	}
	text, err := change(string(old))
	if err != nil {
		return fail(err, next.Say("Change it by hand; old: %v, new: %s.", r.state.Old, r.state.New), "changing .sops.yaml")
	}
	if err := replaceFile(ctx, r.project.RulesFile(), old, []byte(text), 0o644); err != nil {
		return fail(err, next.Words("Check that nobody else changes it."), "writing .sops.yaml")
	}
	return nil
}

// realign encrypts every sops file to what .sops.yaml names now: the recipients
// that it has, and the new one.
func (r *rotation) realign(ctx context.Context) error {
	for _, file := range r.files {
		if _, err := r.project.in(file).realign(ctx, r.ids, []string{r.state.New}); err != nil {
			return err
		}
	}
	return nil
}

// retireFile writes the old identities into a file of their own, whose name
// .gitignore covers, and returns its path. One that an interrupted run wrote is
// good enough.
func (r *rotation) retireFile() (string, error) {
	data, err := r.keyFile(r.ids.Only(r.state.Old))
	if err != nil {
		return "", err
	}
	day := r.Now().Format("2006-01-02")
	for n := 1; ; n++ {
		name := "age-key-retired-" + day + ".txt"
		if n > 1 {
			name = fmt.Sprintf("age-key-retired-%s-%d.txt", day, n)
		}
		path := filepath.Join(r.project.SecretsDir(), name)
		err := createFile(path, data)
		if errors.Is(err, fs.ErrExist) {
			if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, data) {
				return path, nil
			}
			continue
		}
		if err != nil {
			return "", fail(err, next.Words("Check the folder's owner, mode and free space."), "keeping the old key")
		}
		return path, nil
	}
}

// phase is how far the rotation has come on this machine.
type phase int

const (
	phaseNew     phase = iota // nothing is changed yet, but for a key that is of no use
	phaseShare                // both keys everywhere
	phaseReplace              // only the new one in secrets.yaml
)

// hostStep is how far a host has come.
type hostStep int

const (
	stepNone   hostStep = iota
	stepShared          // has both keys, and secrets encrypted to both
	stepPushed          // has secrets encrypted to the new one
	stepForgot          // has only the new key
)

// rotationState is remembered in .vps/rotation.json. It holds no secret.
type rotationState struct {
	Started time.Time           `json:"started"`
	Phase   phase               `json:"phase"`
	New     string              `json:"new"` // recipient
	Old     []string            `json:"old"` // recipients
	Hosts   map[string]hostStep `json:"hosts"`

	path  string
	saved []byte // what the file holds; nil: there is none
}

func loadRotation(project Project) (*rotationState, error) {
	state := &rotationState{path: project.RotationFile(), Hosts: map[string]hostStep{}}
	data, err := os.ReadFile(state.path)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err == nil {
		err = json.Unmarshal(data, state)
	}
	if err == nil && (state.Phase < phaseNew || state.Phase > phaseReplace || state.New == "" || len(state.Old) == 0) {
		err = errors.New("not what a rotation writes")
	}
	if err != nil {
		return nil, fail(err, next.Say("If secrets.yaml and .sops.yaml are as you want them, remove %s and run %s.", state.path, next.Target("secrets:rotate")),
			"reading the unfinished rotation")
	}
	if state.Hosts == nil {
		state.Hosts = map[string]hostStep{}
	}
	state.saved = data
	return state, nil
}

// save writes the state, unless another rotation has done so meanwhile.
func (s *rotationState) save(ctx context.Context) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path), 0o700)
	}
	if err == nil {
		err = replaceFile(ctx, s.path, s.saved, data, 0o600)
	}
	if err != nil {
		return fail(err, next.Words("Check that no other rotation is running, and that the disk has room."), "remembering how far the rotation has come")
	}
	s.saved = data
	return nil
}

// reached remembers that a host has come as far as step.
func (s *rotationState) reached(ctx context.Context, host string, step hostStep) error {
	s.Hosts[host] = step
	return s.save(ctx)
}

func (s *rotationState) remove() error {
	err := os.Remove(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting the finished rotation: %w", err)
	}
	return nil
}
