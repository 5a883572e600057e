package vpstest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// command is a running program of a login, and this side of its pipes.
type command struct {
	server *Server
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr *os.File
}

// exec prepares what a login runs. It is started at once, so that a yes to the
// client means that it runs.
func (l *login) exec(argv ...string) func() {
	if answer := l.conn.link.Exec; answer != nil && len(argv) == 3 {
		return func() { l.instead(answer, argv) }
	}
	return l.start(argv)
}

// instead lets the test answer, or else the server.
func (l *login) instead(answer func(string, io.Reader, io.Writer, io.Writer) (int, bool), argv []string) {
	code, answered := answer(argv[2], l.channel, l.channel, l.channel.Stderr())
	if !answered {
		if run := l.start(argv); run != nil {
			run()
		}
		return
	}
	l.exit(exitStatus(code))
}

func (l *login) start(argv []string) func() {
	c, err := l.server.startCommand(argv)
	if err != nil {
		return nil
	}
	l.command.Store(c)
	return func() { l.attend(c) }
}

// startCommand runs argv as sshd does without a terminal: in a session of its
// own that nothing ends but itself, in the login folder.
func (s *Server) startCommand(argv []string) (*command, error) {
	c := &command{server: s, cmd: exec.Command(argv[0], argv[1:]...)}
	c.cmd.Env = []string{"VPS_ROOT=" + s.root, "HOME=" + s.Path(s.home()), "PATH=" + s.loginPath(), "USER=" + s.config.user}
	c.cmd.Dir = s.Path(s.home())
	theirs, err := c.pipes()
	defer closeAll(theirs...)
	if err == nil {
		err = s.sessions.start(c.cmd)
	}
	if err != nil {
		closeAll(c.stdin, c.stdout, c.stderr)
		return nil, err
	}
	return c, nil
}

// pipes makes the three pipes and returns the program's ends.
func (c *command) pipes() (theirs []*os.File, err error) {
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stdin, c.stdin, theirs = in, stdin, append(theirs, in)
	stdout, out, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	c.cmd.Stdout, c.stdout, theirs = out, stdout, append(theirs, out)
	stderr, bad, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	c.cmd.Stderr, c.stderr = bad, stderr
	return append(theirs, bad), nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// attend passes data both ways until the program, and whoever else holds its
// output, has ended, or the client has gone.
func (l *login) attend(c *command) {
	var output sync.WaitGroup
	output.Go(func() { copyOut(l.channel, c.stdout) })
	output.Go(func() { copyOut(l.channel.Stderr(), c.stderr) })
	ended := make(chan struct{})
	var rest sync.WaitGroup
	l.server.spawn(func() {
		// Ends with the client's end of input, or with the channel.
		_, _ = io.Copy(c.stdin, l.channel)
		_ = c.stdin.Close()
	})
	rest.Go(func() {
		select {
		case <-l.gone:
			// Who still writes gets SIGPIPE, as from sshd.
			closeAll(c.stdout, c.stderr)
		case <-ended:
		}
	})
	err := c.cmd.Wait()
	l.server.sessions.end(c.cmd)
	l.status(err)
	output.Wait()
	close(ended)
	rest.Wait()
	_ = l.channel.CloseWrite()
}

func copyOut(to io.Writer, from *os.File) {
	_, _ = io.Copy(to, from)
	_ = from.Close()
}

type exitStatus int

func (e exitStatus) Error() string { return "" }

// exit ends a session with an exit code.
func (l *login) exit(code exitStatus) {
	_, _ = l.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
	_ = l.channel.CloseWrite()
}

// status tells the client how a program ended.
func (l *login) status(err error) {
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		_, _ = l.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
		return
	}
	state, ok := failed.Sys().(syscall.WaitStatus)
	if !ok || !state.Signaled() {
		_, _ = l.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(failed.ExitCode())}))
		return
	}
	name := unix.SignalName(state.Signal())
	_, _ = l.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Signal         string
		Core           bool
		Message, Langu string
	}{name[len("SIG"):], false, "", ""}))
}

// signal passes a client's signal on to the program's session.
func (c *command) signal(name string) bool {
	if c == nil {
		return false
	}
	signal := unix.SignalNum("SIG" + name)
	return signal != 0 && c.server.signalSession(c.cmd.Process.Pid, signal) == nil
}
