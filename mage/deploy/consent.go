package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/dagadbm/vps/mage/secrets"
	"golang.org/x/crypto/ssh"
)

// Encrypting needs public keys only: whoever can merge a change can forge a
// secrets.yaml with one more login key in it, and the MAC is right. So an update
// says by name which secrets differ from the server's, and a login key that is
// neither on the server nor confirmed on this machine is asked about.

// person lets package trust talk to whoever is at the terminal.
type person struct{ log *observe.Log }

func (p person) Interactive() bool              { return p.log.Interactive() }
func (p person) Say(format string, args ...any) { p.log.Info(format, args...) }
func (p person) Ask(ctx context.Context, question string) (string, error) {
	yes, err := p.log.Confirm(ctx, question)
	if yes {
		return "yes", err
	}
	return "no", err
}

// confirmPin asks about a key that vps.yaml pins against what known_hosts has: a
// merged line there leads to a stranger's server, where known_hosts is a person's
// own. The answer is remembered.
func (p *Project) confirmPin(ctx context.Context, h config.Host) error {
	known, err := p.Dialer.Contradicting(h.Target)
	if err != nil || len(known) == 0 {
		return err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(h.HostKey))
	if err != nil {
		return err
	}
	now := trust.Host{Address: h.Addr(), HostKey: ssh.FingerprintSHA256(key)}
	record, err := trust.Load(ctx, p.Dir)
	if err != nil {
		return err
	}
	if before, ok := record.Hosts[h.Name]; ok && before.Address == now.Address && before.HostKey == now.HostKey {
		return nil
	}
	text := fmt.Sprintf("%s at %s, for which vps.yaml pins %s %s", h.Name, now.Address, key.Type(), now.HostKey)
	for _, k := range known {
		text += fmt.Sprintf(" and %s has %s %s", k.Source, k.Type, k.Fingerprint)
	}
	err = trust.Confirm(ctx, person{p.log}, trust.Question{
		Doing: "connecting to " + h.Name,
		What:  "would be taken for the right server",
		Items: []trust.Item{{Name: now.HostKey, Text: text}},
		Ask:   "Was the server installed again, and is the pinned key the one that it shows itself?",
		No: next.Say("See who changed the pin: %s. If the pin is right, remove the line of known_hosts.",
			next.Shell("git", "log", "-p", "--", "vps.yaml")),
	}, nil)
	if err != nil {
		return &Failure{Host: h.Name, Code: CodeFailed, Err: err, Now: "nothing was changed"}
	}
	now.When = time.Now().UTC()
	return trust.Change(ctx, p.Dir, func(r *trust.Record) { r.Confirm(h.Name, now) })
}

// consent is what was asked and said in one run, whatever the number of hosts.
type consent struct {
	mu   sync.Mutex
	said map[string]bool
	no   error // the answer, if it was no
}

// secretChanges compares the sops files of a difference with what the server has.
func (l *link) secretChanges(ctx context.Context, t *tree.Tree, d tree.Difference, ids *secrets.Identities, record *run.Record) ([]secrets.Change, error) {
	var out []secrets.Change
	was := map[string]tree.Entry{}
	for _, e := range d.Was() {
		was[e.Path] = e
	}
	for _, e := range d.Upload() {
		data, ok := t.File(e.Path)
		if !ok || !secrets.Readable(e.Path, data) {
			continue
		}
		var old []byte
		var unread error
		if before, there := was[e.Path]; there {
			old, unread = l.oldFile(ctx, before, t.Source(e.Path), record)
		}
		change, err := secrets.Compare(e.Path, old, data, ids)
		switch {
		case errors.Is(err, secrets.ErrWrongKey):
			continue // of somebody else's; the server may not need it
		case err != nil:
			return nil, err
		}
		if unread != nil {
			change.Unknown = unread
		}
		if !change.Empty() {
			out = append(out, change)
		}
	}
	return out, nil
}

// oldFile is a file of the server's /etc/nixos: from git, if the commit that was
// deployed has the very same bytes, else from the server.
func (l *link) oldFile(ctx context.Context, e tree.Entry, source string, record *run.Record) ([]byte, error) {
	if record != nil && record.Commit != "" {
		repo := git.In(l.p.Dir)
		if has, err := repo.HasCommit(ctx, record.Commit); err == nil && has {
			for _, path := range []string{e.Path, source} {
				if data, ok, err := repo.File(ctx, record.Commit, path); err == nil && ok && sameHash(data, e.Hash) {
					return data, nil
				}
			}
		}
	}
	data, err := l.treeFile(ctx, e.Path)
	if err != nil {
		return nil, fmt.Errorf("reading the server's %s: %w", e.Path, err)
	}
	if !sameHash(data, e.Hash) {
		return nil, fmt.Errorf("the server's %s is not the one that it listed", e.Path)
	}
	return data, nil
}

func sameHash(data []byte, hash string) bool {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]) == hash
}

// changeText says in a line what of a sops file differs, without any value.
func changeText(c secrets.Change) string {
	var parts []string
	for _, part := range []struct {
		what  string
		names []string
	}{{"changed", c.Changed}, {"added", c.Added}, {"removed", c.Removed}} {
		if len(part.names) > 0 {
			parts = append(parts, part.what+" "+strings.Join(part.names, ", "))
		}
	}
	text := c.File + ": " + strings.Join(parts, "; ")
	if c.Unknown != nil {
		text = fmt.Sprintf("%s: which values differ is unknown (%v)", c.File, c.Unknown)
	}
	return text
}

// ChangeLines says in a few lines what of a sops file differs, without any value.
func ChangeLines(c secrets.Change) []string {
	lines := []string{changeText(c)}
	for _, key := range c.LoginAdded {
		lines = append(lines, fmt.Sprintf("  login key added to %s: %s", key.Name, key))
	}
	for _, key := range c.LoginRemoved {
		lines = append(lines, fmt.Sprintf("  login key removed from %s: %s", key.Name, key))
	}
	return lines
}

// reportChanges says what differs, each line once for all hosts.
func (u *update) reportChanges(changes []secrets.Change) {
	for _, c := range changes {
		for _, line := range ChangeLines(c) {
			u.pre.consent.say(u.p, line)
		}
	}
}

func (c *consent) say(p *Project, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == nil {
		c.said = map[string]bool{}
	}
	if !c.said[text] {
		c.said[text] = true
		p.log.Info("%s", text)
	}
}

// confirmSecrets shows what of the secrets a host will get, and asks about login
// keys that are added. It asks once for all hosts of a run.
func (u *update) confirmSecrets(ctx context.Context, l *link, d tree.Difference, facts run.Facts) error {
	changes, err := l.secretChanges(ctx, u.pre.tree, d, u.pre.ids, facts.Record)
	if err != nil {
		return &Failure{Host: u.host.Name, Code: CodeUsage, Err: err, Now: asItWas}
	}
	u.reportChanges(changes)
	if !u.o.Action.onServer().Activates() && u.o.Action != ActionBoot {
		return nil
	}
	var added []secrets.LoginKey
	for _, c := range changes {
		added = append(added, c.LoginAdded...)
	}
	// The key that let us in is nobody new.
	if mine := l.client.LoginKey(); mine != nil {
		added = slices.DeleteFunc(added, func(k secrets.LoginKey) bool { return k.Fingerprint == ssh.FingerprintSHA256(mine) })
	}
	err = u.p.confirmLogins(ctx, &u.pre.consent, added, u.o.Yes, next.Command{Target: "update", Args: []string{u.host.Name, "-yes"}})
	if err != nil {
		return &Failure{Host: u.host.Name, Code: CodeFailed, Err: err, Now: asItWas}
	}
	return nil
}

// confirmLogins asks about login keys that were not confirmed on this machine, and
// remembers the answer.
func (p *Project) confirmLogins(ctx context.Context, c *consent, keys []secrets.LoginKey, yes bool, again next.Command) error {
	if len(keys) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	open, err := secrets.UnconfirmedLogins(ctx, p.Dir, keys)
	if err != nil || len(open) == 0 {
		return err
	}
	if c.no != nil {
		return c.no
	}
	if !yes {
		err = trust.Confirm(ctx, person{p.log}, trust.Question{
			Doing: "deploying the secrets",
			What:  "would be able to log in to the server from now on",
			Items: loginItems(open),
			Ask:   "Do you know whose key each of them is?",
			No:    next.Say("See which commit brought what you do not know: %s.", next.Shell("git", "log", "-p", "--", secretsPath)),
			Flag:  &again,
		}, nil)
	}
	if declined := (*trust.DeclinedError)(nil); errors.As(err, &declined) {
		c.no = err
	}
	if err != nil {
		return err
	}
	return secrets.ConfirmLogins(ctx, p.Dir, open)
}

func loginItems(keys []secrets.LoginKey) []trust.Item {
	var items []trust.Item
	for _, key := range keys {
		item := trust.Item{Name: key.ID(), Text: key.String() + " of " + key.Name}
		if !slices.Contains(items, item) {
			items = append(items, item)
		}
	}
	return items
}
