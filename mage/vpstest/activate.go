package vpstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// network is how the system that runs treats SSH.
type network struct {
	ssh  string
	port int
}

// switchTo carries out one step of a system's switch-to-configuration.
func (s *Server) switchTo(call Call) reply {
	if len(call.Args) != 3 {
		return reply{err: "a step, a system and an action are needed\n", code: 1}
	}
	step, path, action := call.Args[0], call.Args[1], call.Args[2]
	system := s.confAt(path)
	switch step {
	case "check":
		if call.Env["NIXOS_NO_CHECK"] == "1" && action != "check" {
			return reply{}
		}
		return s.checkSwitch(system, path, action)
	case "bootloader":
		return s.installBootLoader(system, path)
	case "begin":
		return s.beginSwitch(system, path, action)
	case "activate":
		return s.activate(system, path)
	case "end":
		return s.endSwitch(system)
	}
	return reply{err: fmt.Sprintf("no step %q\n", step), code: 1}
}

func (s *Server) checkSwitch(system System, path, action string) reply {
	if system.Inhibited == "" || action == "boot" || s.CurrentSystem() == path {
		return reply{}
	}
	return reply{code: 1, err: "There are changes to critical components of the system:\n" +
		system.Inhibited + " : old -> new\n" +
		"If you really want to switch, run 'nixos-rebuild boot' and reboot.\n" +
		"Pre-switch check 'switchInhibitors' failed\nPre-switch checks failed\n"}
}

func (s *Server) installBootLoader(system System, path string) reply {
	if system.BootFails {
		return reply{err: "Failed to install bootloader\n", code: 1}
	}
	if err := s.setBootDefault(path); err != nil {
		return reply{err: fmt.Sprintf("%v\nFailed to install bootloader\n", err), code: 1}
	}
	// Boot loaders sync what they write to /boot themselves.
	if err := s.syncFile(bootDefaultFile); err != nil {
		return reply{err: fmt.Sprintf("%v\nFailed to install bootloader\n", err), code: 1}
	}
	return reply{}
}

// beginSwitch is what comes before anything changes.
func (s *Server) beginSwitch(system System, path, action string) reply {
	if action == "dry-activate" {
		return reply{err: "would activate the configuration...\n" + lines(system.Output), code: system.Exit}
	}
	old := s.CurrentSystem()
	if old != path && s.mayNotLeave(old) {
		return reply{err: "Failed to stop a unit of the running system\n", code: 1}
	}
	if system.Exit != 0 && (system.Early || system.Exit == 100) {
		return reply{err: lines(system.Output), wait: system.Hang, code: system.Exit}
	}
	return reply{err: "stopping the following units: none\n", wait: system.Hang}
}

func (s *Server) mayNotLeave(path string) bool {
	system := s.confAt(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[path]++
	return s.left[path] <= system.LeaveFails
}

// activate gives the server everything that the system is.
func (s *Server) activate(system System, path string) reply {
	out := "activating the configuration...\n"
	if err := s.takeEffect(system, path); err != nil {
		return reply{err: out + fmt.Sprintf("%v\nFailed to run activate script\n", err), code: 2}
	}
	if err := s.setNetwork(network{ssh: system.SSH, port: system.Port}); err != nil {
		return reply{err: out + fmt.Sprintf("%v\n", err), code: 1}
	}
	for _, snippet := range system.Snippets {
		out += fmt.Sprintf("Activation script snippet '%s' failed (1)\n", snippet)
	}
	if len(system.Snippets) > 0 {
		out += "Failed to run activate script\n"
	}
	return reply{err: out}
}

// takeEffect makes path the running system, apart from the network.
func (s *Server) takeEffect(system System, path string) error {
	if err := s.placeSecrets(path); err != nil {
		return err
	}
	if system.FillDisk {
		if err := s.fillDisk(); err != nil {
			return err
		}
	}
	if err := replaceLink(path, s.Path("run/current-system")); err != nil {
		return err
	}
	s.units.settle(system.Units)
	return nil
}

func (s *Server) placeSecrets(path string) error {
	for _, dir := range []string{"run/secrets", "run/secrets-for-users"} {
		if err := os.RemoveAll(s.Path(dir)); err != nil {
			return err
		}
	}
	list, _ := os.ReadFile(filepath.Join(path, "secrets"))
	for _, secret := range strings.Fields(string(list)) {
		at := s.Path(secret)
		if err := os.MkdirAll(filepath.Dir(at), 0o751); err != nil {
			return err
		}
		if err := os.WriteFile(at, []byte("a secret\n"), 0o400); err != nil {
			return err
		}
	}
	return nil
}

// endSwitch reports as the real one does, once everything has been started.
func (s *Server) endSwitch(system System) reply {
	r := reply{err: lines(system.Output), wait: system.Stall, code: system.Exit}
	if r.code == 0 && len(system.Snippets) > 0 {
		r.code = 2
	}
	var failed []string
	for _, u := range system.Units {
		if u.After == 0 && u.State != "activating" {
			failed = append(failed, u.Name)
		}
	}
	if len(failed) > 0 {
		r.err += "warning: the following units failed: " + strings.Join(failed, ", ") + "\n"
		if r.code == 0 || r.code == 2 { // the real one forgets what it had to say before
			r.code = 4
		}
	}
	return r
}

func lines(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

const bootDefaultFile = "boot/default"

func (s *Server) setBootDefault(path string) error {
	at := s.Path(bootDefaultFile)
	if err := os.WriteFile(at+".new", []byte(path+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(at+".new", at)
}

// Activate makes the system at path (see [Server.AddSystem]) the running one by
// its own switch, as somebody on the server would, and returns the exit code.
func (s *Server) Activate(path string) (exit int, err error) {
	return s.command(path+"/bin/switch-to-configuration", "test")
}

// SwitchTo makes the system at path the running one and a new generation, as
// nixos-upgrade.service does behind the client's back.
func (s *Server) SwitchTo(path string) (exit int, err error) {
	if err := s.setProfile(path); err != nil {
		return 0, err
	}
	return s.command(path+"/bin/switch-to-configuration", "switch")
}

// command runs a program of the server and returns its exit code.
func (s *Server) command(argv ...string) (int, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"VPS_ROOT=" + s.root, "PATH=" + s.loginPath()}
	if err := s.sessions.start(cmd); err != nil {
		return 0, err
	}
	defer s.sessions.end(cmd)
	var failed *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &failed) {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}
