package remote

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// maxKnownHosts bounds, in bytes, what is read of one known_hosts file.
const maxKnownHosts = 64 << 20

// knownHosts is what the known_hosts files say. It does not change once loaded.
type knownHosts struct {
	match ssh.HostKeyCallback
	lines []hostLine
	at    map[string]int // "file:line" of the clean copy -> index in lines
}

// userKnownHosts are the files of t to look up, and to record in, first to last.
func (d *Dialer) userKnownHosts(t Target) []string {
	if len(t.KnownHosts) == 0 {
		return []string{d.expand("~/.ssh/known_hosts"), d.expand("~/.ssh/known_hosts2")}
	}
	files := make([]string, len(t.KnownHosts))
	for i, f := range t.KnownHosts {
		files[i] = d.expand(f)
	}
	return files
}

func (d *Dialer) knownHosts(t Target) (*knownHosts, error) {
	files := d.userKnownHosts(t)
	if len(t.GlobalKnownHosts) == 0 {
		files = append(files, "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
	}
	for _, f := range t.GlobalKnownHosts {
		files = append(files, d.expand(f))
	}
	files, stamp := existing(files)

	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	if hosts, ok := d.memory.verified[stamp]; ok {
		return hosts, nil
	}
	hosts, err := loadKnownHosts(files)
	if err != nil {
		return nil, err
	}
	return remember(&d.memory.verified, stamp, func() *knownHosts { return hosts }), nil
}

// existing drops files that are not there, and stamps the others with all that
// changes when their content does.
func existing(files []string) (found []string, stamp string) {
	for _, f := range files {
		info, err := os.Stat(f)
		if isMissing(err) || f == "none" || f == os.DevNull {
			continue
		}
		found = append(found, f)
		if err == nil {
			stamp += fmt.Sprintf("%q %d %d\n", f, info.Size(), info.ModTime().UnixNano())
		}
	}
	return found, stamp
}

func isMissing(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// loadKnownHosts parses files. The parser fails on the first line that it does
// not understand, where ssh skips it; so it gets copies without such lines.
func loadKnownHosts(files []string) (*knownHosts, error) {
	folder, err := os.MkdirTemp("", "known_hosts-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	hosts := &knownHosts{at: make(map[string]int)}
	var copies []string
	for i, file := range files {
		data, err := readKnownHosts(file)
		if err != nil {
			return nil, err
		}
		clean, lines := parseKnownHosts(file, data)
		name := filepath.Join(folder, strconv.Itoa(i))
		if err := os.WriteFile(name, clean, 0o600); err != nil {
			return nil, err
		}
		copies = append(copies, name)
		for _, l := range lines {
			hosts.at[fmt.Sprintf("%s:%d", name, l.line)] = len(hosts.lines)
			hosts.lines = append(hosts.lines, l)
		}
	}
	db, err := knownhosts.NewDB(copies...)
	if err != nil {
		return nil, err
	}
	hosts.match = db.HostKeyCallback()
	return hosts, nil
}

func readKnownHosts(file string) ([]byte, error) {
	f, err := openRegular(file)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", file, err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKnownHosts))
}
