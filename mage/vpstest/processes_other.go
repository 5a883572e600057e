//go:build !linux

package vpstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processes lists the machine's processes, without zombies.
func processes() ([]process, error) {
	out, err := exec.Command("/bin/ps", "-A", "-o", "pid=,stat=").Output()
	if err != nil {
		return nil, err
	}
	var table []process
	for _, line := range strings.Split(string(out), "\n") {
		words := strings.Fields(line)
		if len(words) != 2 || words[1][0] == 'Z' {
			continue
		}
		pid, err := strconv.Atoi(words[0])
		if err != nil {
			continue
		}
		if session, err := unix.Getsid(pid); err == nil {
			table = append(table, process{pid: pid, session: session})
		}
	}
	return table, nil
}

// ours tells whether a process is of a session that our setsid made: the
// environment of others cannot be read here.
func (s *Server) ours(p process) bool {
	_, err := os.Stat(filepath.Join(s.controlDir(), "sessions", strconv.Itoa(p.session)))
	return err == nil
}
