package remote

import (
	"context"
	"fmt"
	"io"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// sftpState is one SFTP subsystem, being opened or open.
type sftpState struct {
	ready  chan struct{} // closed when client or err is set
	client *sftp.Client
	err    error
	modes  *modes
}

// PrepareSFTP opens the SFTP subsystem in the background.
func (c *Client) PrepareSFTP(ctx context.Context) {
	if ctx.Err() == nil {
		c.sftpState()
	}
}

// SFTP returns the connection's SFTP client, opened by the first call. It ends
// with the connection and need not be closed.
func (c *Client) SFTP(ctx context.Context) (*sftp.Client, error) {
	state, err := c.openSFTP(ctx)
	if err != nil {
		return nil, err
	}
	return state.client, nil
}

func (c *Client) openSFTP(ctx context.Context) (*sftpState, error) {
	state := c.sftpState()
	select {
	case <-state.ready:
		return state, state.err
	case <-c.done:
		return nil, c.lost("")
	case <-ctx.Done():
		return nil, fmt.Errorf("opening SFTP on %s: %w", c.target.name(), context.Cause(ctx))
	}
}

// sftpState returns the state in use; one that failed or ended is replaced.
func (c *Client) sftpState() *sftpState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sftp == nil {
		c.sftp = &sftpState{ready: make(chan struct{}), modes: newModes()}
		go c.runSFTP(c.sftp, c.open())
	}
	return c.sftp
}

// runSFTP opens the subsystem and stays until it ends.
func (c *Client) runSFTP(state *sftpState, pending <-chan opened) {
	state.client, state.err = c.startSFTP(state, pending)
	close(state.ready)
	if state.err == nil {
		_ = state.client.Wait()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sftp == state {
		c.sftp = nil
	}
}

func (c *Client) startSFTP(state *sftpState, pending <-chan opened) (*sftp.Client, error) {
	o := <-pending
	if o.err != nil {
		return nil, c.openError(o.err)
	}
	ok, err := o.session.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err == nil && !ok {
		_ = o.session.Close()
		return nil, &hinted{fmt.Errorf("%s offers no SFTP", c.target.name()),
			"add \"Subsystem sftp internal-sftp\" to the server's sshd_config"}
	}
	if err != nil {
		return nil, c.sftpError(err)
	}
	go func() { _, _ = io.Copy(io.Discard, o.session.Stderr()) }()
	client, err := sftp.NewClientPipe(o.session, state.modes.pipe(o.session),
		sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true))
	if err != nil {
		_ = o.session.Close()
		return nil, c.sftpError(err)
	}
	return client, nil
}

// sftpError tells a lost connection from a broken subsystem.
func (c *Client) sftpError(err error) error {
	if c.link.reason() != nil {
		return c.lost("")
	}
	return &hinted{fmt.Errorf("opening SFTP on %s: %s", c.target.name(), printable(err.Error(), maxErrorText)),
		"check that the user's shell start-up files print nothing, and Subsystem sftp in the server's sshd_config"}
}
