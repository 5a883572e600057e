package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// OpenSSH is this machine's own sshd on a loopback port of its own.
type OpenSSH struct {
	// Port is where it listens, on 127.0.0.1.
	Port int
	// KeyFile is the path of the private key that may log in as root.
	KeyFile string
	// HostKey is its public host key, "ssh-ed25519 AAAA…".
	HostKey string
}

// StartOpenSSH starts an sshd that is gone when the test ends. Its logins have
// env in their environment, and home as root's home in place of /root, where
// commands and SFTP start.
func StartOpenSSH(t testing.TB, env map[string]string, home string) *OpenSSH {
	t.Helper()
	Require(t, "/usr/sbin/sshd", "unshare")
	// Where its service makes this folder, no service has run here.
	noError(t, os.MkdirAll("/run/sshd", 0o755))
	k := newKeys(t)
	files := t.TempDir()
	put(t, files, map[string]string{"host": k.hostPrivate, "authorized": k.userPublic})
	s := &OpenSSH{KeyFile: k.userFile, HostKey: k.hostPublic}
	// Between asking for a free port and using it somebody else may take it.
	for range 3 {
		s.Port = freePort(t)
		config := filepath.Join(files, "sshd_config")
		noError(t, os.WriteFile(config, sshdConfig(s.Port, files, env), 0o600))
		if s.serve(t, config, home) {
			return s
		}
	}
	t.Fatal("sshd found no free port")
	return nil
}

func sshdConfig(port int, files string, env map[string]string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Port %d\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\n", port, files, files)
	// The test's folder may be anybody's; the accounts are this machine's.
	b.WriteString("StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n")
	b.WriteString("PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n")
	b.WriteString("Subsystem sftp internal-sftp\n")
	var pairs []string
	for name, value := range env {
		pairs = append(pairs, fmt.Sprintf("%q", name+"="+value))
	}
	slices.Sort(pairs)
	if len(pairs) > 0 {
		// One line: sshd reads only the first.
		b.WriteString("SetEnv")
		for _, pair := range pairs {
			b.WriteString(" " + pair)
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}

// serve starts sshd and reports whether it listens. It gets a view of the file
// system of its own, in which /root is another folder: sshd takes the home from
// the password file and nowhere else.
func (s *OpenSSH) serve(t testing.TB, config, home string) bool {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
		`mount --bind "$1" /root && exec /usr/sbin/sshd -D -e -f "$2"`, "sh", home, config)
	story := &safeBuffer{}
	cmd.Stdout, cmd.Stderr = story, story
	noError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log("sshd says:\n" + story.String())
		}
	})
	for {
		conn, err := net.Dial("tcp", s.address())
		if err == nil {
			_ = conn.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *OpenSSH) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// safeBuffer may be read while a program still writes to it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
