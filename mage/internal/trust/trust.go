// Package trust is what a person has confirmed on this machine: who may decrypt
// the secrets, who may log in to the servers, which servers may be given a private
// key, and who may sign what is deployed. It is kept in .vps/trust.json, which is
// never committed.
//
// Everything else in a project can be changed by whoever merges a change: vps.yaml
// and its pinned host keys, .sops.yaml, and even the encrypted secrets, because
// encrypting needs public keys only. Of those, what is new against the record is
// asked about by name. A record that came with the repository is refused, since
// somebody else wrote it.
package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Host is a server that was given a private key.
type Host struct {
	Address string    `json:"address"` // with the port
	HostKey string    `json:"hostKey"` // fingerprint, SHA256:…
	When    time.Time `json:"when"`
}

// ServerKey is an age identity that was made here for one server and is kept
// there alone.
type ServerKey struct {
	Host string `json:"host"` // its name
	// Hash is the SHA-256 of the identity's line, in hexadecimal: what the server
	// computes of its own key file.
	Hash string    `json:"hash"`
	Made time.Time `json:"made"`
}

// Record is what was confirmed.
type Record struct {
	Recipients []string        `json:"recipients,omitempty"` // age recipients and other keys, as sops names them
	LoginKeys  []string        `json:"loginKeys,omitempty"`  // fingerprints
	Hosts      map[string]Host `json:"hosts,omitempty"`      // by name
	// ServerKeys are by recipient. A key that a colleague made is not among them.
	ServerKeys map[string]ServerKey `json:"serverKeys,omitempty"`
	// Signers is the SHA-256 of the list of who may sign what is deployed, or "none"
	// where there is no list any more. Empty: there never was one.
	Signers []string `json:"signers,omitempty"`
}

// limit in bytes of the file.
const limit = 1 << 20

// path of the record in a project.
func path(dir string) string { return filepath.Join(dir, ".vps", "trust.json") }

// Load reads the record of the project in dir. A project without one has an empty
// record: nothing was confirmed yet.
func Load(ctx context.Context, dir string) (Record, error) {
	data, err := read(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	var r Record
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return Record{}, explain(dir, err)
	}
	return r, nil
}

// errForeign is a record that this machine did not write.
var (
	errForeign = errors.New("it is not from this machine")
	errTracked = fmt.Errorf("%w: it came with the repository, where somebody committed it", errForeign)
)

// read reads the file after finding out that it is from this machine: git makes
// files of other modes and in folders that it tracks, and an archive brings links.
func read(ctx context.Context, dir string) ([]byte, error) {
	folder, err := os.Lstat(filepath.Dir(path(dir)))
	if err != nil {
		return nil, err
	}
	if !folder.IsDir() {
		return nil, fmt.Errorf("%w: .vps is not a folder", errForeign)
	}
	file, err := os.OpenFile(path(dir), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: it is a link", errForeign)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: it is not a file", errForeign)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w: others can read it (mode %#o)", errForeign, info.Mode().Perm())
	case info.Size() > limit:
		return nil, fmt.Errorf("%d bytes, the limit is %d", info.Size(), limit)
	}
	tracked, err := git.In(dir).Tracks(ctx, ".vps/trust.json")
	if err != nil && !git.Absent(err) {
		return nil, err
	}
	if tracked {
		return nil, errTracked
	}
	data := make([]byte, info.Size())
	n, err := file.ReadAt(data, 0)
	if n == len(data) {
		err = nil
	}
	return data[:n], err
}

func explain(dir string, err error) error {
	step := next.Say("Look at it, then remove it: %s. What it confirmed is asked about again.", next.Shell("rm", path(dir)))
	if errors.Is(err, errForeign) {
		step = next.Say("Find out where it came from, then remove it: %s", next.Shell("rm", "-r", path(dir)))
	}
	if errors.Is(err, errTracked) {
		step = next.Say("Find out who committed it, then remove it: %s", next.Shell("git", "-C", dir, "rm", "-f", ".vps/trust.json"))
	}
	return next.With(fmt.Errorf("reading what was confirmed on this machine (%s): %w", path(dir), err), step)
}

// Change changes the record of the project in dir. Several processes and
// goroutines may do so; each change is made to what is there then.
func Change(ctx context.Context, dir string, change func(*Record)) error {
	file := path(dir)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("remembering what was confirmed: %w", err)
	}
	lock, err := os.Open(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("remembering what was confirmed: %w", err)
	}
	defer lock.Close()
	for {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("remembering what was confirmed: %w", err)
	}
	r, err := Load(ctx, dir)
	if err != nil {
		return err
	}
	change(&r)
	r.normalise()
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = renameio.WriteFile(file, append(data, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(file)))
	}
	if err != nil {
		return fmt.Errorf("remembering what was confirmed: %w", err)
	}
	return nil
}

func (r *Record) normalise() {
	for _, list := range []*[]string{&r.Recipients, &r.LoginKeys, &r.Signers} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}

// Confirm notes a server as the right one for a name.
func (r *Record) Confirm(name string, h Host) {
	if r.Hosts == nil {
		r.Hosts = map[string]Host{}
	}
	r.Hosts[name] = h
}

// Made notes the identity that was made for a server, and that its recipient may
// decrypt.
func (r *Record) Made(recipient string, key ServerKey) {
	if r.ServerKeys == nil {
		r.ServerKeys = map[string]ServerKey{}
	}
	r.ServerKeys[recipient] = key
	r.Recipients = append(r.Recipients, recipient)
}

// Changed says what of a host differs from the last time that it was given a
// key. "" means nothing.
func (r Record) Changed(name string, now Host) string {
	before, known := r.Hosts[name]
	var changes []string
	switch {
	case !known:
		return "not confirmed before"
	case before.Address != now.Address:
		changes = append(changes, "the address was "+before.Address)
	}
	if before.HostKey != now.HostKey {
		changes = append(changes, "the host key was "+before.HostKey)
	}
	if len(changes) == 0 {
		return ""
	}
	return "CHANGED: " + strings.Join(changes, ", ") + " on " + before.When.Local().Format(time.DateOnly)
}

// Missing are those of names that list does not have, in their order.
func Missing(list, names []string) []string {
	var out []string
	for _, name := range names {
		if !slices.Contains(list, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Person is somebody who may be asked.
type Person interface {
	// Interactive reports whether somebody can answer.
	Interactive() bool
	// Say tells something; it goes to stderr.
	Say(format string, args ...any)
	// Ask asks a question whose answer is yes or anything else.
	Ask(ctx context.Context, question string) (string, error)
}

// Question is about widening trust.
type Question struct {
	Doing string // what waits for the answer: "encrypting the secrets"
	What  string // what the items would be able to do: "would be able to decrypt the secrets"
	Items []Item
	Ask   string       // what a person answers yes or no to
	No    next.Step    // what to do about items that are not right
	Rerun next.Command // the command that -yes= with the names is added to
	// Flag is the command with a flag that confirms all, in place of Rerun.
	Flag *next.Command
}

// Item is one person, key or server that trust would be given to.
type Item struct {
	Name string // what -yes= takes: a recipient or a fingerprint
	Text string // what it is, for a person
}

// DeclinedError is trust that nobody gave.
type DeclinedError struct {
	Doing string
	What  string
	Items []Item
	Asked bool // a person said no; else there was nobody to ask
	step  next.Step
}

func (e *DeclinedError) Error() string {
	texts := make([]string, len(e.Items))
	for i, item := range e.Items {
		texts[i] = item.Text
	}
	why := "not confirmed"
	if !e.Asked {
		why = "not confirmed, and there is no terminal to ask on"
	}
	return fmt.Sprintf("%s: %s %s; %s", e.Doing, strings.Join(texts, "; "), e.What, why)
}

// NextStep says how to confirm.
func (e *DeclinedError) NextStep() next.Step { return e.step }

// Confirm asks a person, once, about those items that accepted does not name. The
// answer is no unless it is yes: without a terminal, too.
func Confirm(ctx context.Context, p Person, q Question, accepted []string) error {
	var open []Item
	for _, item := range q.Items {
		if !slices.Contains(accepted, item.Name) {
			open = append(open, item)
		}
	}
	if len(open) == 0 {
		return nil
	}
	declined := &DeclinedError{Doing: q.Doing, What: q.What, Items: open, step: q.step(open, false)}
	if !p.Interactive() {
		return declined
	}
	p.Say("%s %s:", plural(len(open), "This", "These "+strconv.Itoa(len(open))), q.What)
	for _, item := range open {
		p.Say("  %s", item.Text)
	}
	answer, err := p.Ask(ctx, q.Ask)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	declined.Asked, declined.step = true, q.step(open, true)
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "yes") {
		return declined
	}
	return nil
}

// step names the flag that confirms the open items, and what else to do.
func (q Question) step(open []Item, asked bool) next.Step {
	names := make([]string, len(open))
	for i, item := range open {
		names[i] = item.Name
	}
	if asked || q.Rerun.Target == "" && q.Flag == nil {
		return q.No
	}
	again := next.Target(q.Rerun.Target, append(slices.Clone(q.Rerun.Args), "-yes="+strings.Join(names, ","))...)
	if q.Flag != nil {
		again = next.Target(q.Flag.Target, q.Flag.Args...)
	}
	if q.No.IsZero() {
		return next.Say("If you know that all is right, confirm it: %s", again)
	}
	return next.Say("%s If all is right, confirm it: %s", q.No, again)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Names reads the value of -yes=: names with commas between.
func Names(flag string) []string {
	return strings.FieldsFunc(flag, func(r rune) bool { return r == ',' || r == ' ' })
}
