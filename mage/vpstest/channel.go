package vpstest

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

func (s *Server) openChannel(c *conn, asked ssh.NewChannel) {
	switch asked.ChannelType() {
	case "session":
		channel, requests, err := asked.Accept()
		if err != nil {
			return
		}
		login := &login{server: s, conn: c, channel: channel, gone: make(chan struct{})}
		s.spawn(func() { login.serve(requests) })
	case "direct-tcpip":
		s.spawn(func() { s.forward(asked) })
	default:
		_ = asked.Reject(ssh.UnknownChannelType, "no such channel here")
	}
}

// login is one session channel: one command, or SFTP.
type login struct {
	server  *Server
	conn    *conn
	channel ssh.Channel
	gone    chan struct{} // closed when the client has closed the channel
	started bool
	command atomic.Pointer[command]
}

func (l *login) serve(requests <-chan *ssh.Request) {
	var work sync.WaitGroup
	for r := range requests {
		run, ok := l.accept(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if run == nil {
			continue
		}
		work.Go(func() {
			run()
			_ = l.channel.Close()
		})
	}
	close(l.gone)
	work.Wait()
}

// accept says what a request starts, and whether it is answered with yes.
func (l *login) accept(r *ssh.Request) (run func(), ok bool) {
	var text struct{ Text string }
	_ = ssh.Unmarshal(r.Payload, &text)
	switch {
	case r.Type == "signal":
		return nil, l.command.Load().signal(text.Text)
	case l.started:
		return nil, false
	case r.Type == "exec":
		run = l.exec("/bin/sh", "-c", text.Text)
	case r.Type == "shell":
		run = l.exec("/bin/sh")
	case r.Type == "subsystem" && text.Text == "sftp":
		run = l.sftp
	}
	l.started = run != nil
	return run, l.started
}

// forward plays a jump host: it connects the client with another address.
func (s *Server) forward(asked ssh.NewChannel) {
	var target struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(asked.ExtraData(), &target); err != nil {
		_ = asked.Reject(ssh.ConnectionFailed, "malformed")
		return
	}
	address := net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port)))
	remote, err := net.Dial("tcp", address)
	if err != nil {
		_ = asked.Reject(ssh.ConnectionFailed, fmt.Sprintf("connecting to %s failed", address))
		return
	}
	defer remote.Close()
	channel, requests, err := asked.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	s.spawn(func() {
		ssh.DiscardRequests(requests)
		_ = remote.Close()
	})
	pass(channel, remote)
}

// pass copies both ways until both sides have ended.
func pass(channel ssh.Channel, remote net.Conn) {
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(channel, remote)
		_ = channel.CloseWrite()
	})
	_, _ = io.Copy(remote, channel)
	if tcp, ok := remote.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	back.Wait()
}
