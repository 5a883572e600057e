package vpstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The first lingering user's number.
const firstLingering = 1001

// powerOff ends a life of the server: nothing runs, nobody gets in.
func (s *Server) powerOff() error {
	s.mu.Lock()
	s.epoch++
	s.down = true
	s.mu.Unlock()
	_ = s.openDoor(0)
	s.cutAll()
	s.sessions.allow(false)
	s.units.forget()
	return s.killAll()
}

// bootUp begins a life of the server with the boot default as its system.
func (s *Server) bootUp() error {
	if err := s.makeRun(); err != nil {
		return err
	}
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	s.sessions.allow(true)
	if s.config.noNixOS {
		return s.setNetwork(network{})
	}
	system := s.BootDefault()
	for _, link := range []string{"run/booted-system", "run/current-system"} {
		if err := replaceLink(system, s.Path(link)); err != nil {
			return err
		}
	}
	conf := s.confAt(system)
	if err := s.takeEffect(conf, system); err != nil {
		return err
	}
	if err := s.recover(system); err != nil {
		return err
	}
	return s.setNetwork(network{ssh: conf.SSH, port: conf.Port})
}

// makeRun makes /run as it is right after a start.
func (s *Server) makeRun() error {
	entries, err := os.ReadDir(s.Path("run"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(s.Path("run"), entry.Name())); err != nil {
			return err
		}
	}
	dirs := []string{"run/nixos"}
	if !s.config.noSystemd {
		dirs = append(dirs, "run/systemd/system")
	}
	for i := range s.config.lingering {
		dirs = append(dirs, "run/user/"+strconv.Itoa(firstLingering+i))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(s.Path(dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// recover plays the unit that finishes or undoes an interrupted commit. It runs
// beside everything else that starts.
func (s *Server) recover(system string) error {
	script := s.Path("var/lib/vps/supervisor.sh")
	if s.config.noRecovery || s.ReadFile("var/lib/vps/intent") == "" {
		return nil
	}
	unit := service{name: "vps-recover", argv: []string{"/bin/sh", script, "recover"}, env: []string{
		"VPS_ROOT=" + s.root, "HOME=" + s.Path("root"), "PATH=" + system + "/sw/bin"}}
	if err := s.units.startService(unit); err != nil {
		return fmt.Errorf("starting the recovery: %w", err)
	}
	return nil
}

// Restart is a crash, or systemctl reboot: every process dies, connections break,
// /run is empty, and the boot default becomes the running system. What was
// written is all there, synced or not.
func (s *Server) Restart() error { return s.restart(func() error { return nil }) }

// restart lets something happen while the server is down.
func (s *Server) restart(meanwhile func() error) error {
	s.power.Lock()
	defer s.power.Unlock()
	if s.isClosed() {
		return errDown
	}
	if err := s.powerOff(); err != nil {
		return err
	}
	if err := meanwhile(); err != nil {
		return err
	}
	time.Sleep(s.config.bootTime)
	return s.bootUp()
}

// KillSupervisor kills the main process of the supervisor that runs, and says
// whether there was one. systemd, where it runs, then ends its unit.
func (s *Server) KillSupervisor() bool {
	s.units.mu.Lock()
	defer s.units.mu.Unlock()
	for name, cmd := range s.units.running {
		if strings.HasPrefix(name, "vps-run-") {
			return cmd.Process.Kill() == nil
		}
	}
	id := valueOf(s.ReadFile("var/lib/vps/holder"), "id")
	pid, err := strconv.Atoi(strings.TrimSpace(s.ReadFile("var/lib/vps/runs/" + id + "/pid")))
	if id == "" || err != nil {
		return false
	}
	process, err := os.FindProcess(pid)
	return err == nil && process.Kill() == nil
}

// Supervised says whether a supervisor's unit runs.
func (s *Server) Supervised() bool {
	s.units.mu.Lock()
	defer s.units.mu.Unlock()
	for name := range s.units.running {
		if strings.HasPrefix(name, "vps-run-") {
			return true
		}
	}
	return false
}
