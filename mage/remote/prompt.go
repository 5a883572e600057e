package remote

import (
	"context"
	"errors"
)

// ErrNoTerminal is what a Prompter returns that has nobody to ask.
var ErrNoTerminal = errors.New("no terminal to ask on")

// Prompter asks a person. A Dialer asks one question at a time and does not call
// again for what was answered. Methods should return when ctx ends; the Dialer
// does not wait for one that does not.
type Prompter interface {
	// Passphrase asks for the passphrase of a key; what is its path, and on a
	// second try also says that the first was wrong. The Dialer overwrites the
	// answer after use. An empty answer gives this key up.
	Passphrase(ctx context.Context, what string) ([]byte, error)
	// TrustHostKey asks whether an unknown host key is the right one.
	TrustHostKey(ctx context.Context, q HostKeyQuestion) (bool, error)
	// Answer asks what a server, whose host key is verified, wants to know beside
	// a key or in place of it: a one-time code, a password.
	Answer(ctx context.Context, c Challenge) ([]string, error)
}

// HostKeyQuestion is what a person needs in order to trust a host key.
type HostKeyQuestion struct {
	Name        string   // the host as the user calls it
	Address     string   // host:port that was connected to
	Type        string   // "ssh-ed25519"
	Fingerprint string   // "SHA256:…"
	KnownAs     []string // other names under which this same key is known
}

// Challenge is what a server asks during a login. Its texts are the server's, on
// one line each and without control characters.
type Challenge struct {
	Name, User string // the host as the user calls it, and the login
	Text       string // "" if it has only questions
	Questions  []Question
}

// Question is one of a Challenge. Echo says that the answer may be seen.
type Question struct {
	Text string
	Echo bool
}

// ask runs one question. Only one runs at a time in the whole Dialer, and the
// clock of the handshake stands still meanwhile.
func ask[T any](ctx context.Context, d *Dialer, t Target, clock *patience, question func(context.Context, Prompter) (T, error)) (T, error) {
	var none T
	if d.Prompter == nil || t.Options.BatchMode {
		return none, ErrNoTerminal
	}
	clock.pause()
	defer clock.resume()
	release, err := d.memory.oneAtATime(ctx)
	if err != nil {
		return none, err
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer release()
		value, err := question(ctx, d.Prompter)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
