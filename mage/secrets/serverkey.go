package secrets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
)

// A server may have an age key that no other machine has (ageKey: own in vps.yaml).
// It is made in memory and sent to the server; this machine keeps its recipient,
// named in .sops.yaml by the comment "host NAME", and its hash. A server that is lost
// takes its key along: the next one gets another, since the keys of this machine
// decrypt the files as well.

// ServerKey is such a key, before it is forgotten.
type ServerKey struct {
	Recipient string
	id        identity
}

// KeyFile is what belongs into the server's key file.
func (k *ServerKey) KeyFile() []byte { return []byte(k.id.line + "\n") }

// String keeps the key out of logs.
func (k *ServerKey) String() string { return "the age key with the recipient " + k.Recipient }

// GoString keeps the key out of logs too.
func (k *ServerKey) GoString() string { return k.String() }

// newServerKey makes a key and remembers its hash, before any file names it.
func (p Project) newServerKey(ctx context.Context, host string, now time.Time) (*ServerKey, error) {
	made, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("making an age key: %w", err)
	}
	recipient := made.Recipient().String()
	key := &ServerKey{Recipient: recipient, id: identity{made, made.String(), recipient, native}}
	return key, trust.Change(ctx, p.Dir, func(r *trust.Record) {
		r.Made(recipient, trust.ServerKey{Host: host, Hash: key.id.hash(), Made: now.UTC()})
	})
}

// ServerKeyFor makes a key for a server that has none yet, and encrypts the files
// that it needs to it: those that an earlier key of that host could read, and files.
// Nil files are all that the keys of this machine decrypt. The earlier key can decrypt
// nothing from then on.
func ServerKeyFor(ctx context.Context, dir string, ids *Identities, host string, files []string) (*ServerKey, error) {
	s, err := serverIn(ctx, Project{Dir: dir}, ids, host, files)
	if err != nil {
		return nil, err
	}
	if err := s.project.refuseUnconfirmed(ctx, ids, s.touched(), ""); err != nil {
		return nil, err
	}
	key, err := s.project.newServerKey(ctx, host, time.Now())
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, func(text string) (string, error) {
		for i, old := range s.recipients() {
			var err error
			if i == 0 {
				text, err = replaceRecipient(text, old, key.Recipient, s.all...)
			} else {
				text, err = removeRecipient(text, old, s.all...)
			}
			if err != nil {
				return "", err
			}
		}
		return s.add(text, key.Recipient)
	})
	if err != nil {
		return nil, err
	}
	return key, s.realign(ctx, key.Recipient)
}

// server is a host with a key of its own, as .sops.yaml and the files have it.
type server struct {
	project Project
	ids     *Identities
	host    string
	all     []string // every sops file of the project
	needs   []string // those of them that its secrets lie in
	text    string   // of .sops.yaml
}

func serverIn(ctx context.Context, p Project, ids *Identities, host string, files []string) (*server, error) {
	s := &server{project: p, ids: ids, host: host}
	var err error
	if s.all, err = Files(ctx, p.Dir); err != nil {
		return nil, err
	}
	for _, file := range s.all {
		rules, err := loadRules(p.in(file))
		if err != nil {
			return nil, err
		}
		ours := ids.Only(bare(rules.creation.KeyGroups)).Len() > 0
		if files == nil && ours || slices.Contains(files, file) {
			s.needs = append(s.needs, file)
		}
	}
	return s, s.read()
}

func (s *server) read() error {
	text, err := os.ReadFile(s.project.RulesFile())
	if err != nil {
		return fail(err, next.Words("Check the file's owner and mode."), "reading .sops.yaml")
	}
	s.text = string(text)
	return nil
}

// recipients are those that .sops.yaml names as the host's, in its order.
func (s *server) recipients() []string {
	var out []string
	for recipient, owner := range owners(s.text) {
		if owner == brief("host "+s.host) {
			out = append(out, recipient)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Index(s.text, a) - strings.Index(s.text, b) })
	return out
}

// touched are the files that the host decrypts, or shall decrypt.
func (s *server) touched() []string {
	return slices.DeleteFunc(slices.Clone(s.all), func(file string) bool {
		if slices.Contains(s.needs, file) {
			return false
		}
		for _, recipient := range s.recipients() {
			if named, err := s.project.in(file).names(recipient); err == nil && named {
				return false
			}
		}
		return true
	})
}

// change changes .sops.yaml.
func (s *server) change(ctx context.Context, edit func(string) (string, error)) error {
	text, err := edit(s.text)
	if err != nil {
		return fail(err, next.Say("Write the recipients in .sops.yaml as a list, one a line, with a rule for the files of %s that names them; then run this again.", s.host),
			"changing the recipients of %s in .sops.yaml", s.host)
	}
	if text == s.text {
		return nil
	}
	if err := replaceFile(ctx, s.project.RulesFile(), []byte(s.text), []byte(text), 0o644); err != nil {
		return fail(err, next.Words("Check that nobody else changes it."), "writing .sops.yaml")
	}
	return s.read()
}

// realign encrypts the host's files to what .sops.yaml names now.
func (s *server) realign(ctx context.Context, allowed ...string) error {
	for _, file := range s.all {
		named, err := s.misaligned(file)
		if err != nil {
			return err
		}
		if !named {
			continue
		}
		if _, err := s.project.in(file).realign(ctx, s.ids, append([]string{}, allowed...)); err != nil {
			return err
		}
	}
	return nil
}

// misaligned reports whether a file is encrypted to others than its rule names. What
// the keys of this machine do not decrypt is none of the host's.
func (s *server) misaligned(file string) (bool, error) {
	data, err := s.project.in(file).read()
	if err != nil {
		return false, err
	}
	report, err := VerifyFile(file, data, s.ids)
	if errors.Is(err, ErrWrongKey) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return report.compare(s.project.in(file)) != nil, nil
}

// add names a recipient in the rules of the files that the host needs and that do not
// name it yet, and in no others: beside the recipient of this machine, as the list's
// next element. Each place where it could stand is tried, and sops says what that
// would mean.
func (s *server) add(text, recipient string) (string, error) {
	before, err := s.groups(text)
	if err != nil {
		return "", err
	}
	var missing []string
	for _, file := range s.needs {
		if !slices.Contains(before[file], recipient) {
			missing = append(missing, file)
		}
	}
	lines := strings.Split(text, "\n")
	var places []int
	for i := range lines {
		tried := insert(lines, []int{i}, recipient, s.host, s.ids)
		if tried == text {
			continue
		}
		changed, err := s.effect(before, tried)
		if err == nil && len(changed) > 0 && len(trust.Missing(missing, changed)) == 0 {
			places = append(places, i)
		}
	}
	out := insert(lines, places, recipient, s.host, s.ids)
	changed, err := s.effect(before, out)
	if err != nil {
		return "", err
	}
	if len(trust.Missing(changed, missing)) > 0 {
		return "", fmt.Errorf("%w: the rule of %s", errRulesForm, strings.Join(trust.Missing(changed, missing), ", "))
	}
	return out, nil
}

// insert puts a recipient below those lines that name one of this machine.
func insert(lines []string, places []int, recipient, host string, ids *Identities) string {
	var out []string
	for i, line := range lines {
		out = append(out, line)
		if !slices.Contains(places, i) {
			continue
		}
		for _, own := range ids.Recipients() {
			body, _, _ := strings.Cut(line, " #")
			if body = strings.TrimRight(body, " "); listItem(own).MatchString(body) {
				out = append(out, strings.Replace(body, own, recipient, 1)+" # host "+host)
				break
			}
		}
	}
	return strings.Join(out, "\n")
}

// groups are the recipients of every file, as sops reads them from a .sops.yaml.
func (s *server) groups(text string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, file := range s.all {
		groups, err := parseRules(text, []string{file})
		if err != nil {
			return nil, err
		}
		out[file] = bare(groups)
	}
	return out, nil
}

// effect names the files whose recipients a change makes others.
func (s *server) effect(before map[string][]string, text string) (files []string, err error) {
	after, err := s.groups(text)
	if err != nil {
		return nil, err
	}
	for _, file := range s.all {
		if !slices.Equal(before[file], after[file]) {
			files = append(files, file)
		}
	}
	return files, nil
}

// Server says whether one of the keys with these hashes, which a host computed of its
// own key file, was made for it on this machine and decrypts the file. known is false
// where the file names no key of the host that was made here.
func (r *Report) Server(record trust.Record, host string, hashes []string) (decrypts, known bool) {
	for _, recipient := range bare(r.metadata.KeyGroups) {
		key, made := record.ServerKeys[recipient]
		made = made && key.Host == host
		known = known || made
		if made && slices.Contains(hashes, key.Hash) {
			return true, true
		}
	}
	return false, known
}
