package deploy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/secrets"
)

// rotateHosts does over SSH what rotating the age key needs on servers. Every
// call makes a login of its own: between two of them a whole update may pass.
type rotateHosts struct {
	p    *Project
	o    UpdateOptions
	kept *facts.Kept
}

// RotateHosts gives [secrets.Rotate] the project's hosts; o is how it deploys
// to them.
func (p *Project) RotateHosts(ctx context.Context, o UpdateOptions) secrets.RotateHosts {
	return &rotateHosts{p: p, o: o, kept: facts.LoadKept(p.Dir)}
}

// keyFile is where this host keeps its age key, as far as that is known, and what
// the server says about it.
func (r *rotateHosts) keyFile(ctx context.Context, l *link) (string, run.Facts, error) {
	q := r.keyQuery(l.host.KnownOutput())
	answer, err := l.facts(ctx, q)
	if own := r.keyQuery(output(l.host, answer)); err == nil && (own.AgeKey != q.AgeKey || !slices.Equal(own.SSHKeys, q.SSHKeys)) {
		q = own
		answer, err = l.facts(ctx, q)
	}
	return q.AgeKey, answer, err
}

func (r *rotateHosts) keyQuery(output string) run.FactsQuery {
	q := run.FactsQuery{AgeKey: defaultAgeKey}
	if h, _, ok := r.kept.AsOf(output); ok && h.Age != nil {
		q.AgeKey, q.SSHKeys = cmp.Or(h.Age.KeyFile, defaultAgeKey), h.Age.SSHKeyPaths
	}
	return q
}

// Look logs in to a host, whose key is verified on the way, and asks for the hashes
// that the server computes of its age keys.
func (r *rotateHosts) Look(ctx context.Context, host string) (seen secrets.HostSeen, err error) {
	err = r.on(ctx, host, func(l *link) error {
		_, facts, err := r.keyFile(ctx, l)
		if err != nil {
			return err
		}
		seen = l.seen()
		if h, _, ok := r.kept.AsOf(output(l.host, facts)); ok {
			if seen.Files, err = r.p.sources(ctx, h.Files()); err != nil {
				return err
			}
			// Such a server decrypts with its SSH host key, and needs no other.
			seen.SSHOnly = h.Age != nil && h.Age.KeyFile == "" && len(h.Age.SSHKeyPaths) > 0
		}
		seen.Own = seen.SSHOnly || l.host.OwnAgeKey
		seen.SSH = sshRecipients(facts)
		seen.Hashes = facts.AgeKeys
		seen.Note = "no deploy is recorded there"
		if last := facts.Record; last != nil {
			seen.Note = fmt.Sprintf("last deployed by %s from %s on %s", last.Who, last.From, last.When.Local().Format(time.DateOnly))
		}
		return nil
	})
	return seen, err
}

// seen is who answers: the address that was dialled and the key that was verified.
func (l *link) seen() secrets.HostSeen {
	return secrets.HostSeen{Address: net.JoinHostPort(l.host.Address, strconv.Itoa(l.At())), HostKey: l.client.Fingerprint()}
}

// PutIdentities replaces the server's key file, if it is the server that was seen.
// The key travels on standard input, and the server compares its hash before it
// takes the file's place.
func (r *rotateHosts) PutIdentities(ctx context.Context, host string, seen secrets.HostSeen, keyFile []byte, keep ...string) error {
	return r.on(ctx, host, func(l *link) error {
		if now := l.seen(); now.HostKey != seen.HostKey || now.Address != seen.Address {
			return refused(host, next.Target("secrets:rotate"), "%s with host key %s answers now, and %s with %s was confirmed",
				now.Address, now.HostKey, seen.Address, seen.HostKey)
		}
		path, facts, err := r.keyFile(ctx, l)
		if err == nil {
			err = errors.Join(refuseHost(l.host, facts), refuseBusy(l.host, facts))
		}
		if err != nil {
			return err
		}
		out, err := l.Ask(ctx, l.Shell.PutKey(path, keyFile, keep...))
		if err != nil {
			return l.askFailure("write the age keys", err)
		}
		if err := run.ParsePutKey(out); err != nil {
			return refused(host, next.Words("correct that on the server, then run this again"), "write the age keys: %w", err)
		}
		return nil
	})
}

// Deploy is update with its confirmation.
func (r *rotateHosts) Deploy(ctx context.Context, host string) error {
	_, err := r.p.Update(ctx, host, r.o)
	return withoutHost(host, err)
}

// OldStillNeeded looks at every sops file in the trees of all generations that the
// server keeps. A generation whose tree is not kept, or that takes secrets from
// elsewhere, counts as one that needs the old key: going back to it without would
// take root's own login key away.
func (r *rotateHosts) OldStillNeeded(ctx context.Context, host string, oldRecipients []string, newRecipient string) (needed bool, err error) {
	err = r.on(ctx, host, func(l *link) error {
		out, err := l.Ask(ctx, l.Shell.KeyUses())
		if err != nil {
			return l.askFailure("look at the generations", err)
		}
		uses, err := run.ParseKeyUses(bytes.NewReader(out))
		if err != nil {
			return &Failure{Host: host, Code: CodeFailed, Err: err, Now: asItWas}
		}
		old := generationsWithout(uses, oldRecipients, newRecipient)
		if needed = len(old) > 0; needed {
			r.p.log.Info("%s: the old key stays for generation %s", host, strings.Join(old, ", "))
		}
		return nil
	})
	return needed, err
}

// generationsWithout names the generations that the new key alone does not serve.
func generationsWithout(uses []run.KeyUse, old []string, recipient string) []string {
	var names []string
	for _, u := range uses {
		switch {
		case !u.Needs(old, recipient):
		case u.Known:
			names = append(names, fmt.Sprint(u.Generation))
		default:
			names = append(names, fmt.Sprintf("%d (its tree is not kept)", u.Generation))
		}
	}
	return names
}

// on does something over a connection of its own.
func (r *rotateHosts) on(ctx context.Context, host string, work func(*link) error) error {
	h, err := r.p.host(ctx, host)
	if err != nil {
		return withoutHost(host, err)
	}
	l, err := r.p.connect(ctx, h)
	if err != nil {
		return withoutHost(host, err)
	}
	defer l.Close()
	return withoutHost(host, work(l))
}

// withoutHost takes the host's name from a failure: who rotates names it.
func withoutHost(host string, err error) error {
	var f *Failure
	if !errors.As(err, &f) || f.Host != host {
		return err
	}
	bare := *f
	bare.Host = ""
	return &bare
}
