package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3"
	"golang.org/x/crypto/ssh"
)

const (
	tokenName = "gateway-token"
	tokenSize = 32 // bytes

	exampleComment = " Examples, encrypted to a key that everybody has" // how the comment begins
)

// recipients asks about those that were not confirmed here. Where nothing is going
// to be encrypted to them, somebody who is there is asked all the same, so that a
// rotation can go on; where nobody is there, they are named.
func (b *beginning) recipients(ctx context.Context) error {
	files, err := b.files(ctx)
	if err != nil {
		return err
	}
	names, err := b.project.recipientsOf(files)
	if err != nil {
		return err
	}
	names, err = b.project.unconfirmed(ctx, b.ids, names)
	if err != nil || len(names) == 0 {
		return err
	}
	waits := b.waits(files)
	if !waits && !b.Console.Interactive() && len(b.Accept) == 0 {
		for _, name := range names {
			b.Console.Say("not confirmed on this machine: %s", short(name))
		}
		return nil
	}
	return b.project.confirmRecipients(ctx, b.Console, names, b.Accept, next.Command{Target: "secrets:init"})
}

// files are all sops files and secrets.yaml, be it there or not yet.
func (b *beginning) files(ctx context.Context) ([]string, error) {
	files, err := Files(ctx, b.project.Dir)
	if err == nil && !slices.Contains(files, b.project.name()) {
		files = slices.Insert(files, 0, b.project.name())
	}
	return files, err
}

// waits reports whether one of the files is going to be encrypted to other
// recipients than it is now.
func (b *beginning) waits(files []string) bool {
	return slices.ContainsFunc(files, func(file string) bool {
		project := b.project.in(file)
		rules, err := loadRules(project)
		if err != nil {
			return true
		}
		old, err := project.read()
		return err != nil || !b.sameRecipients(project, old, rules)
	})
}

// otherFiles brings the other sops files in line with .sops.yaml.
func (b *beginning) otherFiles(ctx context.Context) error {
	files, err := Files(ctx, b.project.Dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		if file == b.project.name() {
			continue
		}
		changed, err := b.project.in(file).realign(ctx, b.ids, nil)
		if err != nil {
			return err
		}
		if changed {
			b.did("encrypted %s to the recipients of .sops.yaml", file)
		}
	}
	return nil
}

// secrets makes secrets.yaml, or completes it.
func (b *beginning) secrets(ctx context.Context) error {
	rules, err := loadRules(b.project)
	if err != nil {
		return err
	}
	old, f, err := b.existing(rules)
	if err != nil {
		return err
	}
	if err := b.fill(ctx, f); err != nil {
		return err
	}
	dropEmpty(f)
	data, err := f.sealChecked(b.ids)
	if err != nil {
		return err
	}
	if same, err := f.sameAs(old, b.ids); err != nil || (same && b.sameRecipients(b.project, old, rules)) {
		return err
	}
	if err := b.project.writeSecrets(ctx, old, data); err != nil {
		return err
	}
	if err := ConfirmLogins(ctx, b.project.Dir, b.logins); err != nil {
		return err
	}
	b.did("wrote %s, encrypted to the recipients of .sops.yaml", b.project.SecretsFile())
	return nil
}

func (b *beginning) sameRecipients(project Project, old []byte, r *rules) bool {
	tree, err := parse(old, storeFor(project.name(), r.stores))
	return err == nil && slices.Equal(recipients(tree.Metadata.KeyGroups), recipients(r.creation.KeyGroups))
}

// existing opens what there is, in whatever state, or begins anew.
func (b *beginning) existing(r *rules) (old []byte, f *file, err error) {
	if !fileExists(b.project.SecretsFile()) {
		f, err = newFile(r, b.project.name())
		return nil, f, err
	}
	if old, err = readFile(b.project.SecretsFile()); err != nil {
		return nil, nil, err
	}
	f, err = openHinted(old, b.ids, r.stores, b.project.SecretsFile())
	switch {
	case err == nil:
		return old, f, b.alignRecipients(f, r)
	case errors.Is(err, ErrNotEncrypted):
		f, err = b.encryptPlain(old, r)
		return old, f, err
	case errors.Is(err, ErrWrongKey):
		if renewed, ok := b.renewExample(old, r); ok {
			return old, renewed, nil
		}
	}
	return nil, nil, err
}

func (b *beginning) alignRecipients(f *file, r *rules) error {
	removed, err := f.align(r)
	if removed {
		b.Console.Say("a recipient was removed: it can still read the old values in git's history, so change them too")
	}
	return err
}

func (b *beginning) encryptPlain(old []byte, r *rules) (*file, error) {
	f, err := newFile(r, b.project.name())
	if err != nil {
		return nil, err
	}
	branches, problems, err := readPlain(old, f.store)
	if err != nil {
		return nil, fail(err, next.Say("Correct the YAML, then run %s again.", next.Target("secrets:init")), "encrypting %q", b.project.SecretsFile())
	}
	for _, problem := range problems {
		b.Console.Say("%s", problem)
	}
	b.Console.Say("secrets.yaml was in plain text; if it was ever committed, its values are known: change them")
	f.tree.Branches = branches
	return f, nil
}

// renewExample takes over what the public example key decrypts, without the
// values that are examples or that everybody knows.
func (b *beginning) renewExample(old []byte, r *rules) (*file, bool) {
	example, err := Sources{Dir: b.project.Dir, Getenv: b.Getenv}.fromFile(context.Background(), b.project.ExampleKeyFile(), false)
	if err != nil || !example.IsExample() {
		return nil, false
	}
	opened, err := open(old, example, storeFor(b.project.name(), r.stores))
	if err != nil || !slices.Contains(bare(opened.tree.Metadata.KeyGroups), ExampleRecipient) {
		return nil, false
	}
	f, err := newFile(r, b.project.name())
	if err != nil {
		return nil, false
	}
	f.tree.Branches = opened.tree.Branches
	if kept := dropExamples(f); len(kept) > 0 {
		b.Console.Say("kept, but everybody could read them until now, so change them: %s", strings.Join(kept, ", "))
	}
	return f, true
}

// dropExamples empties the example's values, so that fill sets them where they
// are, and returns the names of others.
func dropExamples(f *file) (kept []string) {
	if len(f.tree.Branches) == 0 {
		f.tree.Branches = sops.TreeBranches{{}}
	}
	branch := slices.DeleteFunc(f.tree.Branches[0], func(item sops.TreeItem) bool {
		comment, ok := item.Key.(sops.Comment)
		return ok && strings.HasPrefix(comment.Value, exampleComment)
	})
	for i, item := range branch {
		if item.Key == tokenName || (item.Key == sshKeyName && item.Value == exampleSSHPublicKey) {
			branch[i].Value = nil
		}
	}
	f.tree.Branches[0] = branch
	eachLeaf(branch, nil, func(path []string, value any) {
		if name := formatName(path); value != nil && name != sshKeyName {
			kept = append(kept, name)
		}
	})
	return kept
}

// dropEmpty removes what dropExamples emptied and nothing has filled.
func dropEmpty(f *file) {
	f.tree.Branches[0] = slices.DeleteFunc(f.tree.Branches[0], func(item sops.TreeItem) bool {
		return item.Value == nil && (item.Key == tokenName || item.Key == sshKeyName)
	})
}

const sshKeyName = "ssh-public-key"

// sshKey finds the public key that may log in: the one given, or a default one
// after asking. Empty means later.
func (b *beginning) sshKey(ctx context.Context) (string, error) {
	if b.SSHKey != "" {
		b.Console.Say("the SSH key of %s may log in", b.SSHKey)
		return readPublicKey(b.SSHKey)
	}
	if !b.Console.Interactive() {
		return "", nil
	}
	home := b.Home
	if home == "" {
		home, _ = os.UserHomeDir() // none: no key is found there
	}
	for _, name := range []string{"id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"} {
		path := filepath.Join(home, ".ssh", name)
		text, err := readPublicKey(path)
		if err != nil {
			continue
		}
		yes, err := b.askKey(ctx, path, text)
		if err != nil || yes {
			return text, err
		}
	}
	return "", nil
}

func (b *beginning) askKey(ctx context.Context, path, text string) (bool, error) {
	keys, err := parsePublicKeys([]byte(text))
	if err != nil {
		return false, err
	}
	answer, err := b.Console.Ask(ctx, fmt.Sprintf("May the SSH key of %s log in to the servers (%s)? yes or no: ", path, ssh.FingerprintSHA256(keys[0])))
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "yes" || answer == "y", err
}

func readPublicKey(path string) (string, error) {
	text, err := ReadValueFile(path)
	if err != nil {
		return "", err
	}
	if _, err := parsePublicKeys([]byte(text)); err != nil {
		return "", fail(err, next.Words("Name a file with an SSH public key, such as ~/.ssh/id_ed25519.pub."), "reading the SSH public key %q", path)
	}
	return strings.TrimSpace(text), nil
}
