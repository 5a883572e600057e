package vpstest

import (
	"errors"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

func (s *Server) accept(listener net.Listener) {
	for {
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		c, ok := s.admit(raw)
		if !ok {
			_ = raw.Close()
			continue
		}
		s.spawn(func() {
			defer s.dismiss(c)
			s.converse(c)
		})
	}
}

// admit numbers a connection and gives it its behaviour.
func (s *Server) admit(raw net.Conn) (*conn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || s.closed {
		return nil, false
	}
	s.accepted++
	link := s.links(s.accepted)
	if link.Refuse {
		return nil, false
	}
	s.meter.opened(time.Now(), link.RTT)
	if link.RTT > 0 {
		raw = newDelayed(raw, link.RTT)
	}
	c := newConn(raw, s.accepted, link, &s.meter)
	c.frozen = s.network.ssh == SSHDropped
	s.conns[c] = true
	s.stats = append(s.stats, c)
	return c, true
}

func (s *Server) dismiss(c *conn) {
	_ = c.Close()
	if d, ok := c.Conn.(*delayed); ok {
		d.wait.Wait()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) eachConn(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}

func (s *Server) cutAll() { s.eachConn(func(c *conn) { _ = c.Close() }) }

// Cut ends every open connection, as a network that fails does.
func (s *Server) Cut() { s.cutAll() }

// converse speaks SSH with one client.
func (s *Server) converse(c *conn) {
	if d, ok := c.Conn.(*delayed); ok && !d.in.sleep(3*d.half) {
		return
	}
	if c.link.Silent {
		<-s.closing(c)
		return
	}
	if len(c.link.Greeting) > 0 {
		if _, err := c.Write(c.link.Greeting); err != nil {
			return
		}
	}
	connection, channels, requests, err := ssh.NewServerConn(c, s.sshConfig(c))
	if err != nil {
		return
	}
	defer connection.Close()
	s.spawn(func() { answerGlobal(requests) })
	for channel := range channels {
		if c.link.Mute {
			continue // neither opened nor refused
		}
		s.openChannel(c, channel)
	}
}

// closing reads and forgets what a client says until the connection ends.
func (s *Server) closing(c *conn) <-chan struct{} {
	s.spawn(func() {
		buffer := make([]byte, 4096)
		for {
			if _, err := c.Read(buffer); err != nil {
				_ = c.Close()
				return
			}
		}
	})
	return c.closed
}

var errDenied = errors.New("permission denied")

func (s *Server) sshConfig(c *conn) *ssh.ServerConfig {
	config := &ssh.ServerConfig{MaxAuthTries: 6, ServerVersion: "SSH-2.0-vpstest"}
	config.PublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		s.mu.Lock()
		denied := s.network.ssh == SSHDenied
		s.mu.Unlock()
		if denied || c.link.RefuseLogin || meta.User() != s.config.user || !s.mayLogIn(key) {
			return nil, errDenied
		}
		return nil, nil
	}
	if c.link.Banner != "" {
		config.BannerCallback = func(ssh.ConnMetadata) string { return c.link.Banner }
	}
	keys := s.hostKeys
	if c.link.StrangeKey {
		keys = []ssh.Signer{s.strange}
	}
	for _, key := range keys {
		config.AddHostKey(key)
	}
	return config
}

// answerGlobal refuses everything; to a keep-alive that is an answer.
func answerGlobal(requests <-chan *ssh.Request) {
	for r := range requests {
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}
