package remote

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

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
