package remote

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// OpenSSH's requests by which a server tells all its host keys, and proves that it
// has their private halves (PROTOCOL, section 2.5).
const (
	hostKeysTold   = "hostkeys-00@openssh.com"
	hostKeysProved = "hostkeys-prove-00@openssh.com"
)

// maxHostKeys bounds how many keys of one server are looked at.
const maxHostKeys = 16

// HostKeys gives all host keys of the server, as Target.HostKey takes them: the one
// that this connection was verified by first, then those that the server names and
// proves to have over it. A server that tells none has that one.
func (c *Client) HostKeys(ctx context.Context) ([]string, error) {
	keys := []ssh.PublicKey{c.hostKey}
	for _, key := range c.toldKeys(ctx) {
		if !slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return sameKey(k, key) }) && len(keys) < maxHostKeys {
			keys = append(keys, key)
		}
	}
	var payload []byte
	for _, key := range keys[1:] {
		payload = append(payload, ssh.Marshal(struct{ Blob []byte }{key.Marshal()})...)
	}
	lines := []string{authorizedLine(c.hostKey)}
	if len(payload) == 0 {
		return lines, ctx.Err()
	}
	ok, reply, err := c.request(ctx, hostKeysProved, payload)
	if err != nil || !ok {
		return lines, err
	}
	rest := krlReader(reply)
	for _, key := range keys[1:] {
		signature := new(ssh.Signature)
		if ssh.Unmarshal(rest.text(), signature) != nil {
			break
		}
		signed := ssh.Marshal(struct {
			Request       string
			Session, Blob []byte
		}{hostKeysProved, c.ssh.SessionID(), key.Marshal()})
		if slices.Contains(algorithmsOf(key), signature.Format) && key.Verify(signed, signature) == nil {
			lines = append(lines, authorizedLine(key))
		}
	}
	return lines, nil
}

// toldKeys are the keys that the server told of. It does so at once after the
// login, so that they have come when it answered anything.
func (c *Client) toldKeys(ctx context.Context) (keys []ssh.PublicKey) {
	if _, _, err := c.request(ctx, "keepalive@openssh.com", nil); err != nil {
		return nil
	}
	handled := make(chan struct{})
	select {
	case c.caughtUp <- handled:
		<-handled
	case <-c.done:
		return nil
	}
	var payload krlReader
	select {
	case payload = <-c.told:
		c.told <- payload
	default:
		return nil
	}
	for len(payload) > 0 {
		if key, err := ssh.ParsePublicKey(payload.text()); err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// request sends a global request and waits for its answer, but not longer than ctx.
func (c *Client) request(ctx context.Context, name string, payload []byte) (ok bool, reply []byte, err error) {
	type answer struct {
		ok    bool
		reply []byte
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		ok, reply, err := c.ssh.SendRequest(name, true, payload)
		answers <- answer{ok, reply, err}
	}()
	select {
	case a := <-answers:
		return a.ok, a.reply, a.err
	case <-c.done:
		return false, nil, c.lost("")
	case <-ctx.Done():
		return false, nil, context.Cause(ctx)
	}
}

var errSeen = errors.New("the host key was seen")

// HostKeys gives the host keys that t shows, at most one of each type, as
// ssh-keyscan does. Nothing vouches for them: they only tell what a person can
// compare. It logs in to jump hosts only.
func (d *Dialer) HostKeys(ctx context.Context, t Target) ([]ssh.PublicKey, error) {
	via, err := d.dialJumps(ctx, t)
	if err != nil {
		return nil, err
	}
	defer closeIfAny(via)
	var keys []ssh.PublicKey
	var last error
	for _, algorithms := range [][]string{
		{ssh.KeyAlgoED25519},
		{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
		{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
	} {
		key, err := d.hostKey(ctx, t, via, algorithms)
		switch {
		case err != nil:
			last = err
		case !slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return sameKey(k, key) }):
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, last
	}
	return keys, nil
}

// hostKey begins a key exchange and ends it when the key is there.
func (d *Dialer) hostKey(ctx context.Context, t Target, via *Client, algorithms []string) (ssh.PublicKey, error) {
	conn, err := d.connect(ctx, t, via)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	limit := time.AfterFunc(d.handshakeTimeout(), func() { _ = conn.Close() })
	defer limit.Stop()
	offered, err := transport(t)
	if err != nil {
		return nil, err
	}
	var seen ssh.PublicKey
	_, _, _, err = ssh.NewClientConn(conn, t.Addr(), &ssh.ClientConfig{
		Config: offered, User: t.user(), ClientVersion: clientVersion, HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			seen = plainKey(key)
			return errSeen
		},
	})
	if seen != nil {
		return seen, nil
	}
	return nil, unreachable(t, via, err)
}
