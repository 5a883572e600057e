package vpstest

import (
	"bytes"
	"os"
	"strconv"
)

// processes lists the machine's processes, without zombies.
func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var table []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if session, ok := sessionOf(entry.Name()); ok {
			table = append(table, process{pid: pid, session: session})
		}
	}
	return table, nil
}

func sessionOf(pid string) (int, bool) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, false
	}
	// The name, in parentheses, may itself hold blanks and parentheses.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 4 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0, false
	}
	session, err := strconv.Atoi(string(fields[3]))
	return session, err == nil
}

// ours tells by its environment whether a process belongs to this server.
func (s *Server) ours(p process) bool {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/environ")
	if err != nil {
		return false
	}
	mark := []byte("\x00VPS_ROOT=" + s.root + "\x00")
	return bytes.Contains(append([]byte{0}, environ...), mark)
}
