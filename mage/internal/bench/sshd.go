package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// daemon is an OpenSSH server of its own on a loopback port.
type daemon struct {
	cmd  *exec.Cmd
	port int
	log  bytes.Buffer
	over chan struct{}
}

// startDaemon starts sshd with its files in dir. Logins have env in their
// environment, and home in place of /root: sshd takes that from the password file
// and nowhere else, so it gets a view of the file system of its own.
func startDaemon(dir, home string, k keys, env ...string) (*daemon, error) {
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"host": k.hostPrivate, "authorized": k.userPublic} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	var last *daemon
	for range 3 { // somebody may take the port before sshd does
		d := &daemon{over: make(chan struct{})}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		d.port = listener.Addr().(*net.TCPAddr).Port
		_ = listener.Close()
		config := filepath.Join(dir, "sshd_config")
		if err := os.WriteFile(config, daemonConfig(d.port, dir, env), 0o600); err != nil {
			return nil, err
		}
		if err := d.start(config, home); err != nil {
			return nil, err
		}
		if d.listens() {
			return d, nil
		}
		last = d
	}
	return nil, fmt.Errorf("sshd does not start: %s", last.log.String())
}

func daemonConfig(port int, dir string, env []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Port %d\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\n", port, dir, dir)
	// The folder may be anybody's; the accounts are this machine's.
	b.WriteString("StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n")
	b.WriteString("PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel ERROR\n")
	b.WriteString("Subsystem sftp internal-sftp\nSetEnv")
	for _, pair := range env {
		fmt.Fprintf(&b, " %q", pair)
	}
	b.WriteString("\n")
	return b.Bytes()
}

func (d *daemon) start(config, home string) error {
	d.cmd = exec.Command("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
		`mount --bind "$1" /root && exec /usr/sbin/sshd -D -e -f "$2"`, "sh", home, config)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	if err := d.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.over)
	}()
	return nil
}

// listens waits until sshd accepts connections, or has given up.
func (d *daemon) listens() bool {
	for {
		conn, err := net.Dial("tcp", d.address())
		if err == nil {
			_ = conn.Close()
			return true
		}
		select {
		case <-d.over:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (d *daemon) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port)) }

func (d *daemon) stop() {
	_ = d.cmd.Process.Kill()
	<-d.over
}
