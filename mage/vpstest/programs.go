package vpstest

import (
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/program"
)

//go:embed programs
var programFiles embed.FS

// The real programs that a NixOS host has and that this machine lends to it.
var lent = strings.Fields(`awk base64 basename cat chmod chown cmp comm cp cut date dd df diff
dirname du echo env expr false find flock grep gzip head hostid kill ln ls mkdir mkfifo mktemp mv
nice nproc od printf ps pwd readlink rm rmdir sed seq setsid sh sha256sum sleep sort stat tail tar
tee test timeout touch tr true tty uniq wc xargs xz zstd`)

// Played programs: scripts of their own, and those that ask this process.
var (
	scripted = []string{"id", "whoami", "uname", "hostname", "df", "mountpoint", "setpriv", "sudo", "nix-store", "cpio"}
	asking   = []string{"systemctl", "systemd-run", "nixos-rebuild", "nix-env", "sync"}
)

// narrowed are the programs that a laptop of the BSD kind has without what only
// GNU adds.
var narrowed = strings.Fields("cp df find head ln mv sort stat tail wc")

// gnuOnly are the programs that such a laptop has not at all.
var gnuOnly = []string{"hostid", "nproc", "xz", "zstd"}

// shims are what macOS lacks, or has in another shape: in perl, which it has.
var shims = []string{"flock", "setsid", "timeout", "sha256sum", "readlink"}

func (s *Server) askDir() string  { return filepath.Join(s.controlDir(), "ask") }
func (s *Server) realDir() string { return filepath.Join(s.controlDir(), "real") }
func (s *Server) shimDir() string { return filepath.Join(s.controlDir(), "shim") }

// makePrograms fills bin with the server's programs.
func (s *Server) makePrograms(bin string) error {
	for _, dir := range []string{bin, s.askDir(), s.realDir(), s.shimDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := s.lendPrograms(bin); err != nil {
		return err
	}
	for _, name := range scripted {
		as := name
		if name == "sudo" {
			as = map[sudoKind]string{sudoFree: "sudo", sudoAsks: "sudo", sudoDoas: "doas", sudoRun0: "run0"}[s.config.sudo]
		}
		if as == "" {
			continue
		}
		if err := s.installScript(name+".sh", filepath.Join(bin, as)); err != nil {
			return err
		}
	}
	if err := s.installAsking(bin); err != nil {
		return err
	}
	return s.replacePrograms(bin)
}

// lendPrograms links the laptop's programs, with a shim where it has none.
func (s *Server) lendPrograms(bin string) error {
	s.lentPaths = map[string]string{}
	for _, name := range lent {
		path, err := s.lend(name)
		if err != nil {
			return err
		}
		if path == "" {
			continue
		}
		s.lentPaths[name] = path
		at := filepath.Join(bin, name)
		if slices.Contains(s.config.traced, name) {
			at = filepath.Join(s.realDir(), name)
		}
		if err := os.Symlink(path, at); err != nil {
			return err
		}
	}
	return nil
}

// lend finds or makes what a program's name shall lead to; "" is nothing.
func (s *Server) lend(name string) (string, error) {
	path, err := exec.LookPath(name)
	at := filepath.Join(s.shimDir(), name)
	switch {
	case s.config.bsd && slices.Contains(gnuOnly, name):
		return "", nil
	case slices.Contains(shims, name) && (err != nil || s.config.bsd || runtime.GOOS == "darwin"):
		return at, s.installScript(name+".pl", at)
	case err != nil:
		return "", nil
	case s.config.bsd && slices.Contains(narrowed, name):
		return at, s.installScript("bsd.sh", at, "PROGRAM", path)
	}
	return path, nil
}

func (s *Server) installAsking(bin string) error {
	ask := filepath.Join(s.controlDir(), "ask.sh")
	if err := s.installScript("ask.sh", ask); err != nil {
		return err
	}
	for _, name := range asking {
		if s.config.noSystemd && strings.HasPrefix(name, "systemd-") {
			continue
		}
		if err := os.Symlink(ask, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	for _, name := range s.config.traced {
		if err := s.installScript("traced.sh", filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	for _, name := range append([]string{"switch-to-configuration"}, s.config.traced...) {
		if err := os.Symlink(ask, filepath.Join(s.askDir(), name)); err != nil {
			return err
		}
	}
	return nil
}

// replacePrograms puts the test's own scripts over ours.
func (s *Server) replacePrograms(bin string) error {
	for name, script := range s.config.programs {
		path := filepath.Join(bin, name)
		if script == "" {
			_ = os.Remove(path)
			continue
		}
		if err := program.Write(path, script); err != nil {
			return err
		}
	}
	return nil
}
