package config

import (
	"fmt"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// ParseError is one problem in a configuration file.
type ParseError struct {
	File    string
	Line    int // from 1; 0 when it concerns the whole file
	Problem string
}

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Problem
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
}

// NextStep says what to do next.
func (e *ParseError) NextStep() next.Step {
	return next.Say("correct %s and run the same command again; nothing was changed", e.File)
}

// FileError is a configuration file that cannot be read or written.
type FileError struct {
	Path string
	Err  error
	Next next.Step // in place of the usual hint; or ""
}

func (e *FileError) Error() string { return fmt.Sprintf("cannot use %s: %v", e.Path, e.Err) }

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }

// NextStep says what to do next.
func (e *FileError) NextStep() next.Step {
	if !e.Next.IsZero() {
		return e.Next
	}
	return next.Say("make %s a readable file, or remove it to use the defaults", e.Path)
}

// ArgumentError is a HOST or HOSTS argument that makes no sense.
type ArgumentError struct {
	Arg     string
	Problem string
	Next    next.Step // what to write instead
}

func (e *ArgumentError) Error() string { return fmt.Sprintf("host %q: %s", e.Arg, e.Problem) }

// NextStep says what to do next.
func (e *ArgumentError) NextStep() next.Step { return e.Next }

// UnknownHostError is a name that neither vps.yaml nor ssh_config knows.
type UnknownHostError struct {
	Name    string
	Known   []string // names of vps.yaml, then aliases of ssh_config
	Closest string   // the known name most like Name, or ""
}

func (e *UnknownHostError) Error() string {
	msg := fmt.Sprintf("unknown host %q: not in %s, not an alias in ssh_config, and not an address", e.Name, FileName)
	if len(e.Known) == 0 {
		return msg + " (no host is known)"
	}
	return msg + " (known: " + shorten(e.Known, 12) + ")"
}

// NextStep says what to do next.
func (e *UnknownHostError) NextStep() next.Step {
	if e.Closest != "" {
		return next.Say("did you mean %q? Otherwise add %q to %s, or give its address", e.Closest, e.Name, FileName)
	}
	return next.Say("add %q to %s, give it a HostName in ssh_config, or name its address as [user@]address[:port]", e.Name, FileName)
}

// SSHConfigError is an ssh_config that cannot be used for a host.
type SSHConfigError struct {
	Host    string
	Problem string // names file and line where they are known
	Next    next.Step
	Err     error // cause, or nil
}

func (e *SSHConfigError) Error() string {
	return fmt.Sprintf("ssh_config for host %q: %s", e.Host, e.Problem)
}

// Unwrap gives the cause, if there is one.
func (e *SSHConfigError) Unwrap() error { return e.Err }

// NextStep says what to do next.
func (e *SSHConfigError) NextStep() next.Step {
	if !e.Next.IsZero() {
		return e.Next
	}
	return next.Words("correct ssh_config, or go without it: set VPS_SSH_CONFIG=none")
}

func shorten(names []string, limit int) string {
	if len(names) > limit {
		return strings.Join(names[:limit], ", ") + fmt.Sprintf(" and %d more", len(names)-limit)
	}
	return strings.Join(names, ", ")
}
