package remote

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// HostKeyMismatchError reports that a server presented another key than the one
// known for it: it was reinstalled, or something else answers in its place.
type HostKeyMismatchError struct {
	Name, Addr string
	Got        string   // type and fingerprint presented: "ssh-ed25519 SHA256:…"
	Want       []string // types and fingerprints known
	Source     string   // where the first of Want is written, "file:line" or words
	lookup     string
	pinned     bool
}

func (e *HostKeyMismatchError) Error() string {
	return fmt.Sprintf("host key of %s (%s) is not the known one: it presents %s, but %s has %s",
		e.Name, e.Addr, e.Got, e.Source, strings.Join(e.Want, " and "))
}

// Hint is the next thing to do.
func (e *HostKeyMismatchError) Hint() string {
	const danger = "somebody may be in between: go on only if you know why the key changed"
	if file, _, ok := strings.Cut(e.Source, ":"); ok && !e.pinned {
		return fmt.Sprintf("%s, then remove the old key with: ssh-keygen -f %s -R %s", danger, shellPath(file), Quote(e.lookup))
	}
	if e.pinned {
		return danger + ", then replace hostKey in vps.yaml"
	}
	return danger
}

// RevokedHostKeyError reports a key that known_hosts marks @revoked.
type RevokedHostKeyError struct {
	Name, Addr, Fingerprint, Source string
}

func (e *RevokedHostKeyError) Error() string {
	return fmt.Sprintf("host key %s of %s (%s) is revoked by %s", e.Fingerprint, e.Name, e.Addr, e.Source)
}

// Hint is the next thing to do.
func (e *RevokedHostKeyError) Hint() string {
	return "do not log in to this server; give it a new host key through its console"
}

// UnknownHostKeyError reports a host that nothing is known about and that nobody
// vouched for.
type UnknownHostKeyError struct {
	Name, Addr  string
	Type        string // "ssh-ed25519"
	Fingerprint string // "SHA256:…"
	Declined    bool   // a person was asked and said no
	Err         error  // why nobody could be asked; nil if Declined
}

func (e *UnknownHostKeyError) Error() string {
	why := "declined"
	switch {
	case errors.Is(e.Err, ErrNoTerminal):
		why = "there is no terminal to ask on"
	case e.Err != nil:
		why = e.Err.Error()
	}
	return fmt.Sprintf("host key of %s (%s) is not known and not accepted (%s): %s %s", e.Name, e.Addr, why, e.Type, e.Fingerprint)
}

// Unwrap returns why nobody could be asked.
func (e *UnknownHostKeyError) Unwrap() error { return e.Err }

// Hint is the next thing to do.
func (e *UnknownHostKeyError) Hint() string {
	return "compare the fingerprint with the one on the server's console; if it is right: -hostkey=" + e.Fingerprint
}

func (p *hostKeyPolicy) mismatch(key ssh.PublicKey, known []hostLine) error {
	e := &HostKeyMismatchError{Name: p.target.name(), Addr: p.target.Addr(), Got: describe(key),
		Source: known[0].source(), lookup: recordName(p.target), pinned: p.target.HostKey != ""}
	for _, l := range known {
		e.Want = append(e.Want, describe(l.key))
	}
	return e
}

func (p *hostKeyPolicy) unknown(key ssh.PublicKey, err error) error {
	if mismatch := new(HostKeyMismatchError); errors.As(err, &mismatch) {
		return mismatch
	}
	return &UnknownHostKeyError{Name: p.target.name(), Addr: p.target.Addr(), Type: key.Type(),
		Fingerprint: ssh.FingerprintSHA256(key), Declined: err == nil, Err: err}
}

func describe(key ssh.PublicKey) string {
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

// hinted is an error with the next thing to do.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// Hint is the next thing to do.
func (e *hinted) Hint() string { return e.hint }
