package vpstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/dagadbm/vps/mage/internal/program"
)

// installScript writes one of our scripts with this server's paths in it, and
// with further values by their names.
func (s *Server) installScript(name, at string, more ...string) error {
	text, err := programFiles.ReadFile("programs/" + name)
	if err != nil {
		return err
	}
	return program.Write(at, s.replacer(more).Replace(string(text)))
}

func (s *Server) replacer(more []string) *strings.Replacer {
	asks := ""
	if s.config.sudo == sudoAsks {
		asks = "1"
	}
	values := map[string]string{
		"CONTROL": s.controlDir(), "ASK": s.askDir(), "REAL": s.realDir(), "ROOT": s.root,
		"USER": s.config.user, "ARCH": s.config.arch, "HOSTNAME": s.config.hostname,
		"PATH": s.loginPath(), "ASKS": asks, "PID": strconv.Itoa(os.Getpid()), "SESSIONS": filepath.Join(s.controlDir(), "sessions"),
		"FLOCK": s.lentPaths["flock"], "DF": s.lentPaths["df"],
	}
	for _, name := range []string{"mkdir", "mkfifo", "rm", "cat", "sleep", "env"} {
		path, err := exec.LookPath(name)
		if err != nil {
			path = "/bin/" + name
		}
		values[strings.ToUpper(name)] = path
	}
	for i := 0; i < len(more); i += 2 {
		values[more[i]] = more[i+1]
	}
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, "@"+name+"@", "'"+strings.ReplaceAll(value, "'", `'\''`)+"'")
	}
	return strings.NewReplacer(pairs...)
}

// writeOverrides tells the played df and mountpoint what the test has said.
func (s *Server) writeOverrides() error {
	var free []string
	for path, kilobytes := range s.config.free {
		free = append(free, fmt.Sprintf("%d %s\n", kilobytes, strings.TrimSuffix(s.Path(path), "/")))
	}
	// The longest prefix first, so that it wins.
	sort.Slice(free, func(i, j int) bool { return len(free[i]) > len(free[j]) })
	if err := os.WriteFile(filepath.Join(s.controlDir(), "free"), []byte(strings.Join(free, "")), 0o644); err != nil {
		return err
	}
	return s.Mount(s.config.mounts...)
}

// Mount makes paths mount points, as far as /proc/self/mountinfo and mountpoint say.
func (s *Server) Mount(paths ...string) error {
	var mounts, info strings.Builder
	for i, path := range paths {
		fmt.Fprintln(&mounts, s.Path(path))
		fmt.Fprintf(&info, "%d 1 8:1 / %s rw,relatime - ext4 /dev/vda1 rw\n", 30+i, s.Path(path))
	}
	if err := os.WriteFile(filepath.Join(s.controlDir(), "mounts"), []byte(mounts.String()), 0o644); err != nil {
		return err
	}
	return s.WriteFile("proc/self/mountinfo", info.String())
}
