package secrets

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/dagadbm/vps/mage/internal/next"
)

// InitOptions say how to begin. Console is needed.
type InitOptions struct {
	Console  Console
	Declared []Declared
	SSHKey   string                   // path of the public key that may log in; empty: ask about the usual ones
	Accept   []string                 // recipients that are confirmed beforehand
	Home     string                   // where .ssh is; empty: the user's home
	Getenv   func(name string) string // os.Getenv
	Ask      AskPassphrase
}

// beginning is one call of Init.
type beginning struct {
	InitOptions
	project Project
	ids     *Identities
	logins  []LoginKey // that the person chose
	changed bool
}

// Init makes what is missing of the project in dir: the line in .gitignore, the
// key, .sops.yaml, and secrets.yaml with the declared names. It replaces the
// public example key, encrypts a secrets.yaml that is in plain text, and brings
// the recipients of every sops file in line with .sops.yaml, after asking about
// those that were not confirmed on this machine. It never overwrites a key.
// Called again, it changes nothing and reports false; after a failure it goes on
// where it was.
func Init(ctx context.Context, dir string, options InitOptions) (changed bool, err error) {
	b := &beginning{InitOptions: options, project: Project{Dir: dir}}
	if b.Getenv == nil {
		b.Getenv = os.Getenv
	}
	for _, step := range []func(context.Context) error{b.ignore, b.key, b.rules, b.recipients, b.secrets, b.otherFiles} {
		if err := ctx.Err(); err != nil {
			return b.changed, err
		}
		if err := step(ctx); err != nil {
			return b.changed, err
		}
	}
	if !b.changed {
		b.Console.Say("nothing to do: key, .sops.yaml and secrets.yaml are there and fit together")
	}
	return b.changed, nil
}

func (b *beginning) did(format string, args ...any) {
	b.changed = true
	b.Console.Say(format, args...)
}

// ignoredLines are what git must never take, with a path of each that stands for it.
var ignoredLines = []struct {
	why, line string
	paths     []string
}{
	{"The age key that decrypts the secrets. Never committed.", "/secrets/age-key*.txt", []string{keyPath, retiredPath}},
	{"What was confirmed on this machine, and what is under way. Never committed.", "/.vps/", []string{".vps/trust.json"}},
}

// ignore comes first: no key is ever there that git would take.
func (b *beginning) ignore(ctx context.Context) error {
	for _, ignored := range ignoredLines {
		done, err := isIgnored(ctx, b.project, ignored.line, ignored.paths)
		if err != nil {
			return fail(err, next.Of(err), "asking git what it ignores")
		}
		if done {
			continue
		}
		old, err := os.ReadFile(b.project.IgnoreFile())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(err, next.Words("Check the file's owner and mode."), "reading .gitignore")
		}
		text := string(old)
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		text += "# " + ignored.why + "\n" + ignored.line + "\n"
		if err := replaceFile(ctx, b.project.IgnoreFile(), old, []byte(text), 0o644); err != nil {
			return fail(err, next.Say("Add the line %s to .gitignore, then run %s again.", ignored.line, next.Target("secrets:init")), "writing .gitignore")
		}
		b.did("added %s to .gitignore", ignored.line)
	}
	return nil
}

// key finds the person's key or makes one.
func (b *beginning) key(ctx context.Context) error {
	ids, err := Sources{Dir: b.project.Dir, Getenv: b.Getenv, Ask: b.Ask}.Load(ctx)
	switch {
	case errors.Is(err, ErrNoKey) && !fileExists(b.project.KeyFile()):
	case err != nil:
		return err
	case !ids.IsExample():
		b.ids = ids
		return nil
	case ids.Source() != b.project.ExampleKeyFile():
		return fail(ErrExampleKey, next.Say("Remove it, then run %s again for a key of your own.", next.Target("secrets:init")), "your age key is in %s", ids.Source())
	}
	b.ids, err = b.makeKey()
	return err
}

func (b *beginning) makeKey() (*Identities, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("making an age key: %w", err)
	}
	if err := os.MkdirAll(b.project.SecretsDir(), 0o755); err != nil {
		return nil, fail(err, next.Words("Check the folder's owner and mode."), "making the folder for the age key")
	}
	text := keyText(id.String(), id.Recipient().String(), time.Now())
	if err := createFile(b.project.KeyFile(), []byte(text)); err != nil {
		return nil, fail(err, next.Say("Make room or correct the permissions, then run %s again.", next.Target("secrets:init")), "writing the new age key %q", b.project.KeyFile())
	}
	b.did("made an age key in %s", b.project.KeyFile())
	b.Console.Say("BACK IT UP NOW, in a password manager or on paper: without it the secrets are lost, and git does not have it")
	return ParseIdentities([]byte(text))
}

// keyText is what age-keygen writes.
func keyText(line, recipient string, now time.Time) string {
	return fmt.Sprintf("# created: %s\n# public key: %s\n%s\n", now.UTC().Format(time.RFC3339), recipient, line)
}

// createFile makes a private file that must not exist, and leaves none behind
// if that fails.
func createFile(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// rules makes .sops.yaml name our recipient.
func (b *beginning) rules(ctx context.Context) error {
	recipient, err := b.ownRecipient()
	if err != nil {
		return err
	}
	loaded, err := loadRules(b.project)
	if errors.Is(err, ErrMissing) {
		return b.writeRules(ctx, nil, newRules+recipient+"\n", "made .sops.yaml for "+short(recipient))
	}
	if err != nil {
		return err
	}
	named := bare(loaded.creation.KeyGroups)
	switch {
	case (recipient == "" || b.ids.Only(named).Len() > 0) && !slices.Contains(named, ExampleRecipient):
		return nil
	case slices.Contains(named, ExampleRecipient):
		return b.replaceExample(ctx, recipient, b.ids.Only(named).Len() > 0)
	}
	return fail(ErrWrongKey, next.Say("Send the recipient to one of them, who adds it to .sops.yaml, runs %s and commits.", next.Target("secrets:init")),
		".sops.yaml names others only; your recipient is %s", recipient)
}

func (b *beginning) replaceExample(ctx context.Context, recipient string, ours bool) error {
	old, err := os.ReadFile(b.project.RulesFile())
	if err != nil {
		return fail(err, next.Words("Check the file's owner and mode."), "reading .sops.yaml")
	}
	var text string
	if ours {
		text, err = removeRecipient(string(old), ExampleRecipient)
	} else {
		text, err = replaceRecipient(string(old), ExampleRecipient, recipient)
	}
	if err != nil {
		return fail(err, next.Say("Put %s in the place of %s by hand, then run %s again.", recipient, ExampleRecipient, next.Target("secrets:init")), "changing .sops.yaml")
	}
	return b.writeRules(ctx, old, text, "put your recipient into .sops.yaml, in the place of the public example: "+short(recipient))
}

func (b *beginning) writeRules(ctx context.Context, old []byte, text, done string) error {
	if err := replaceFile(ctx, b.project.RulesFile(), old, []byte(text), 0o644); err != nil {
		return fail(err, next.Say("Run %s again.", next.Target("secrets:init")), "writing .sops.yaml")
	}
	b.did("%s", done)
	return nil
}

// fill adds the declared names that are not there.
func (b *beginning) fill(ctx context.Context, f *file) error {
	for _, declared := range inFile(b.Declared, b.project.name()) {
		path := declared.path()
		if value, err := lookup(first(f.tree.Branches), path); err == nil && value != nil {
			continue
		}
		value, err := b.value(ctx, formatName(path))
		if err != nil {
			return err
		}
		if value == "" {
			b.Console.Say("%s is declared and not set: `%s`", formatName(path), next.Target("secrets:set", formatName(path)))
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
		text, err := b.sshKey(ctx)
		b.logins = keysIn(name, text)
		return text, err
	case !b.Console.Interactive():
		return "", nil
	}
	value, err := b.Console.AskHidden(ctx, fmt.Sprintf("Value of %s (Enter: later): ", name))
	if err != nil || value == "" {
		return "", err
	}
	return value, checkValue(value)
}

// The example lets a fresh clone work at once. Everybody knows its key, and
// the private half of its SSH key was thrown away.
const (
	// ExampleRecipient is the public half of testdata/age-key.txt.
	ExampleRecipient = "age1huv67dlkmr9xuhpp0nqe3aldfj8gluu0cevtnrqtvgpx77zzea0qrqjxfd"

	exampleSSHPublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILaJ7LdR63HifsHNKm2J/Z32q7AfmQLJ0Ep+s6ogXgVl"
)

// makeOwnKey is what whoever has the public example key shall do.
var makeOwnKey = next.Say("Run %s: it makes a key of your own and re-encrypts.", next.Target("secrets:init"))

// RefuseExample is what every command that deploys asks first: it returns an
// error that wraps [ErrExampleKey] if the public example key is among ids, or
// among those that the file of report is encrypted to. Either may be nil.
func RefuseExample(ids *Identities, report *Report) error {
	if ids != nil && ids.IsExample() {
		return fail(ErrExampleKey, makeOwnKey, "refusing to deploy with the age key of %s", ids.Source())
	}
	if report != nil && report.Example() {
		return fail(ErrExampleKey, makeOwnKey, "refusing to deploy secrets that the example key decrypts")
	}
	return nil
}

// ownRecipient is the one that .sops.yaml gets. A plugin's identity does not tell
// its recipient, so a person writes that down.
func (b *beginning) ownRecipient() (string, error) {
	if own := b.ids.Recipients(); len(own) > 0 {
		return own[0], nil
	}
	text, _ := os.ReadFile(b.project.RulesFile()) // without it nothing is named
	if slices.ContainsFunc(b.ids.all, func(id identity) bool { return id.named(string(text)) }) {
		return "", nil
	}
	return "", fail(ErrNoKey, next.Say("Write the recipient that the plugin shows (age1…) into .sops.yaml, or run %s without that key for an ordinary one.", next.Target("secrets:init")),
		"the only key, in %s, is a plugin's, which does not tell its recipient", b.ids.Source())
}
