package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
)

var errConnectTimeout = errors.New("no answer in time")

// connect opens a TCP connection to t, directly or through via.
func (d *Dialer) connect(ctx context.Context, t Target, via *Client) (net.Conn, error) {
	limited, cancel := context.WithTimeoutCause(ctx, d.connectTimeout(), errConnectTimeout)
	defer cancel()
	conn, err := d.dialFunc(via)(limited, "tcp", t.Addr())
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("connecting to %s: %w", t.name(), context.Cause(ctx))
	case limited.Err() != nil:
		err = errConnectTimeout
	}
	return nil, unreachable(t, via, err)
}

func (d *Dialer) dialFunc(via *Client) func(context.Context, string, string) (net.Conn, error) {
	switch {
	case via != nil:
		return via.ssh.DialContext
	case d.NetDial != nil:
		return d.NetDial
	default:
		return new(net.Dialer).DialContext
	}
}
