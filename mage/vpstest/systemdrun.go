package vpstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// service is a transient unit as systemd-run describes it.
type service struct {
	name    string
	argv    []string
	env     []string
	restart bool
	pause   time.Duration // before a restart
	delay   time.Duration // of the timer
	timer   bool
	log     string // where its output goes; "" is the journal
}

// systemdRun plays systemd-run for the flags that the scripts use.
func (s *Server) systemdRun(call Call) reply {
	unit, err := parseService(call.Args)
	if err != nil {
		return reply{err: fmt.Sprintf("systemd-run: %v\n", err), code: 1}
	}
	if unit.timer {
		err = s.units.startTimer(unit)
	} else {
		err = s.units.startService(unit)
	}
	if err != nil {
		return reply{err: fmt.Sprintf("Failed to start transient unit: %v\n", err), code: 1}
	}
	return reply{}
}

func parseService(args []string) (service, error) {
	var unit service
	for i, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			unit.argv = args[i:]
			break
		}
		key, value, _ := strings.Cut(arg, "=")
		if err := unit.flag(key, value); err != nil {
			return unit, err
		}
	}
	if len(unit.argv) == 0 {
		return unit, fmt.Errorf("command line to execute required")
	}
	return unit, nil
}

func (u *service) flag(key, value string) (err error) {
	switch key {
	case "--unit":
		u.name = value
	case "--setenv":
		u.env = append(u.env, value)
	case "--on-active":
		u.timer = true
		u.delay, err = time.ParseDuration(value)
	case "--property":
		switch name, value, _ := strings.Cut(value, "="); name {
		case "Restart":
			u.restart = value == "on-failure"
		case "RestartSec":
			u.pause, err = time.ParseDuration(value)
		case "StandardOutput", "StandardError":
			u.log = strings.TrimPrefix(value, "append:")
		}
	case "--quiet", "--collect", "--description", "--timer-property", "--no-ask-password", "--service-type", "--no-block":
	default:
		return fmt.Errorf("unrecognized option '%s'", key)
	}
	return err
}

func (u *units) startTimer(unit service) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	name := unit.name + ".timer"
	if u.timers[name] != nil || u.running[unit.name+".service"] != nil {
		return fmt.Errorf("unit %s was already loaded or has a fragment file", name)
	}
	u.timers[name] = u.server.after(unit.delay, func() {
		u.mu.Lock()
		_, armed := u.timers[name]
		delete(u.timers, name)
		u.mu.Unlock()
		if armed {
			_ = u.startService(unit)
		}
	})
	return nil
}

func (u *units) startService(unit service) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	name := unit.name + ".service"
	if u.running[name] != nil {
		return fmt.Errorf("unit %s was already loaded or has a fragment file", name)
	}
	journal, err := u.output(unit)
	if err != nil {
		return err
	}
	defer journal.Close()
	cmd := exec.Command(unit.argv[0], unit.argv[1:]...)
	// A unit has what systemd-run gives it and no more; in particular no PATH, which
	// a shell would fill in with this machine's.
	cmd.Env = append([]string{"PATH=/var/empty"}, unit.env...)
	cmd.Dir = u.server.root
	cmd.Stdout, cmd.Stderr = journal, journal
	epoch := u.server.life()
	if err := u.server.sessions.start(cmd); err != nil {
		return err
	}
	u.running[name] = cmd
	u.server.spawn(func() { u.await(unit, cmd, epoch) })
	return nil
}

// await does what systemd does when a service's main process ends: what is left
// of it dies, and it is started again if it asks for that.
func (u *units) await(unit service, cmd *exec.Cmd, epoch int) {
	err := cmd.Wait()
	_ = u.server.killSession(cmd.Process.Pid)
	u.server.sessions.end(cmd)
	u.mu.Lock()
	delete(u.running, unit.name+".service")
	close(u.changed)
	u.changed = make(chan struct{})
	u.mu.Unlock()
	if err != nil && unit.restart && u.server.alive(epoch) {
		u.server.after(unit.pause, func() { _ = u.startService(unit) })
	}
}

// output is where a unit's output goes: to the journal, or where it asked for.
func (u *units) output(unit service) (*os.File, error) {
	if unit.log == "" {
		return u.journal(unit.name + ".service")
	}
	return os.OpenFile(unit.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// journal is where a unit's output goes that asks for nothing else.
func (u *units) journal(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(u.server.controlDir(), "journal-"+name),
		os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}
