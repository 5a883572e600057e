package vpstest

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

// systemctl plays systemctl for the verbs that the scripts use.
func (s *Server) systemctl(call Call) reply {
	flags, words := splitFlags(call.Args)
	if len(words) == 0 {
		return reply{err: "systemctl: a verb is needed\n", code: 1}
	}
	if s.config.noSystemd {
		return reply{err: "System has not been booted with systemd as init system (PID 1). Can't operate.\n", code: 1}
	}
	user := s.callingUser(call, flags)
	switch verb := words[0]; verb {
	case "is-active":
		return s.isActive(user, words[1:])
	case "is-system-running":
		return s.isSystemRunning()
	case "list-units":
		return reply{out: s.units.list(user, flags["--state"], words[1:])}
	case "show":
		return reply{out: s.show(flags, words[1:])}
	case "kill":
		return s.forUnits(words[1:], func(name string) error { return s.units.kill(name, signalNamed(flags["--signal"])) })
	case "stop":
		return s.stop(words[1:])
	case "reboot":
		s.spawn(func() { _ = s.Restart() })
		return reply{}
	case "daemon-reload", "reset-failed":
		return reply{}
	default:
		return reply{err: fmt.Sprintf("Unknown command verb '%s'.\n", verb), code: 1}
	}
}

func splitFlags(args []string) (flags map[string]string, words []string) {
	flags = map[string]string{}
	for _, arg := range args {
		if key, value, _ := strings.Cut(arg, "="); strings.HasPrefix(arg, "-") {
			flags[key] = value
			continue
		}
		words = append(words, arg)
	}
	return flags, words
}

// callingUser tells whose service manager is asked: that of the folder in
// XDG_RUNTIME_DIR, or the system's.
func (s *Server) callingUser(call Call, flags map[string]string) string {
	if _, ok := flags["--user"]; !ok {
		return ""
	}
	id, _ := strconv.Atoi(filepath.Base(call.Env["XDG_RUNTIME_DIR"]))
	if i := id - firstLingering; i >= 0 && i < len(s.config.lingering) {
		return s.config.lingering[i]
	}
	return s.config.user
}

func (s *Server) isActive(user string, names []string) reply {
	var r reply
	for _, name := range names {
		state := s.units.state(user, name)
		r.out += state + "\n"
		if state != "active" {
			r.code = 3
		}
	}
	return r
}

func (u *units) state(user, name string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if user == "" && (u.running[name] != nil || u.timers[name] != nil) {
		return "active"
	}
	switch state := u.states[unitKey{user, name}].state; state {
	case "":
		return "inactive"
	case "auto-restart":
		return "activating"
	default:
		return state
	}
}

func (s *Server) isSystemRunning() reply {
	if s.units.list("", "failed", nil) != "" {
		return reply{out: "degraded\n", code: 1}
	}
	return reply{out: "running\n"}
}

// list prints the units in one of the comma-separated states that match one of the
// patterns, if there are any, as "systemctl list-units --plain --no-legend" does.
func (u *units) list(user, states string, patterns []string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var rows []string
	for key, unit := range u.states {
		active := unit.state
		if active == "auto-restart" {
			active = "activating"
		}
		if key.user != user || !listed(states, unit.state) && !listed(states, active) || len(patterns) > 0 && !matches(patterns, key.name) {
			continue
		}
		rows = append(rows, fmt.Sprintf("%s loaded %s %s A unit of the test\n", key.name, active, unit.state))
	}
	for name := range u.running {
		if user == "" && listed(states, "active") && (len(patterns) == 0 || matches(patterns, name)) {
			rows = append(rows, name+" loaded active running A transient unit\n")
		}
	}
	sort.Strings(rows)
	return strings.Join(rows, "")
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return err == nil && ok
	})
}

// show prints properties of units, in UTC.
func (s *Server) show(flags map[string]string, names []string) string {
	_, bare := flags["--value"]
	var out strings.Builder
	for _, name := range names {
		for property := range strings.SplitSeq(flags["--property"], ",") {
			value, known := s.property(name, property)
			switch {
			case known && bare:
				fmt.Fprintln(&out, value)
			case known:
				fmt.Fprintf(&out, "%s=%s\n", property, value)
			}
		}
	}
	return out.String()
}

func (s *Server) property(name, property string) (value string, known bool) {
	state := s.units.state("", name)
	s.units.mu.Lock()
	defer s.units.mu.Unlock()
	last, ran := s.units.ended[name]
	switch property {
	case "NRestarts":
		return strconv.Itoa(s.units.restarts[name]), true
	case "ActiveState":
		return state, true
	case "LoadState":
		if state == "inactive" && !ran {
			return "not-found", true
		}
		return "loaded", true
	case "Result":
		return cmp.Or(last.result, "success"), true
	case "InactiveEnterTimestamp":
		if !ran || last.when.IsZero() {
			return "", true
		}
		return last.when.UTC().Format("Mon 2006-01-02 15:04:05 MST"), true
	}
	return "", false
}

// stop stops units in one transaction, as systemd does from 262 on: if one of them is
// absent, none is stopped. A pattern stands for those that are loaded.
func (s *Server) stop(names []string) reply {
	var all []string
	for _, name := range names {
		if strings.ContainsAny(name, "*?[") {
			all = append(all, s.units.matching(name)...)
			continue
		}
		if s.units.state("", name) == "inactive" {
			return reply{err: fmt.Sprintf("Failed to stop %s: Unit %s not loaded.\n", name, name), code: 5}
		}
		all = append(all, name)
	}
	return s.forUnits(all, s.units.stop)
}

// matching lists the transient units that run and match a pattern.
func (u *units) matching(pattern string) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var names []string
	for name := range u.timers {
		names = append(names, name)
	}
	for name := range u.running {
		names = append(names, name)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !matches([]string{pattern}, name) })
	slices.Sort(names)
	return names
}

func listed(list, word string) bool {
	return list == "" || strings.Contains(","+list+",", ","+word+",")
}

func (s *Server) forUnits(names []string, do func(string) error) reply {
	var r reply
	for _, name := range names {
		if err := do(name); err != nil {
			r.err += fmt.Sprintf("Failed for %s: %v\n", name, err)
			r.code = 5
		}
	}
	return r
}

func signalNamed(name string) syscall.Signal {
	switch strings.TrimPrefix(name, "SIG") {
	case "KILL", "9":
		return syscall.SIGKILL
	case "INT":
		return syscall.SIGINT
	default:
		return syscall.SIGTERM
	}
}
