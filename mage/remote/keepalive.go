package remote

import (
	"errors"
	"time"
)

var errSilent = errors.New("the server stopped answering")

// watch asks a silent server for a sign of life, and ends the connection when
// none comes. Anything that arrives counts, so a busy link costs nothing.
func (c *Client) watch(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	heard, silent := c.link.heard.Load(), 0
	asking := make(chan struct{}, 1)
	for {
		select {
		case <-c.done:
			return
		case <-ticker.C:
		}
		if now := c.link.heard.Load(); now != heard {
			heard, silent = now, 0
			continue
		}
		if silent > keepAliveMisses-1 {
			c.link.end(errSilent)
			_ = c.Close()
			return
		}
		silent++
		c.askForLife(asking)
	}
}

// askForLife sends one request without waiting for it: on a dead link even the
// sending can block. A second one is not sent while the first is open.
func (c *Client) askForLife(asking chan struct{}) {
	select {
	case asking <- struct{}{}:
		go func() {
			_, _, _ = c.ssh.SendRequest("keepalive@openssh.com", true, nil)
			<-asking
		}()
	default:
	}
}
