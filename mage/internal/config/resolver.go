package config

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Resolver turns arguments into hosts. [NewResolver] fills every field from the
// surroundings; a test changes what it wants to.
type Resolver struct {
	Config *Config
	// Program is the ssh program; "" reads ssh_config here instead.
	Program string
	// Run runs Program and returns its standard output. Its error is shown.
	Run func(ctx context.Context, program string, args ...string) ([]byte, error)
	// SSHConfig replaces the user's and the system's ssh_config, as ssh -F
	// does; "" for the usual files, "none" for no file.
	SSHConfig       string
	SystemSSHConfig string // the system's file, read after Home/.ssh/config
	Home            string // replaces ~; by the password file, as ssh has it
	Dir             string // where relative paths of ssh_config begin
	User            string // local login name
	UID             int
	Hostname        string // of this machine
	LookupEnv       func(name string) (string, bool)
}

// NewResolver makes a resolver for cfg, the current user and this machine.
func NewResolver(cfg *Config) (*Resolver, error) {
	if cfg == nil {
		cfg = Default()
	}
	// ssh takes ~ from the password file, never from HOME.
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("finding the current user: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the current folder: %w", err)
	}
	hostname, _ := os.Hostname() // only for %l and %L
	r := &Resolver{
		Config:    cfg,
		Run:       runSSH,
		SSHConfig: os.Getenv("VPS_SSH_CONFIG"),
		Home:      me.HomeDir,
		Dir:       dir,
		User:      me.Username,
		UID:       os.Getuid(),
		Hostname:  hostname,
		LookupEnv: os.LookupEnv,
	}
	switch r.SSHConfig {
	case "", "none":
	case os.DevNull:
		r.SSHConfig = "none"
	default:
		if !filepath.IsAbs(r.SSHConfig) {
			r.SSHConfig = filepath.Join(dir, r.SSHConfig)
		}
	}
	if r.Program, err = exec.LookPath("ssh"); err != nil {
		r.Program = "" // the files are read here instead
	}
	r.SystemSSHConfig = systemSSHConfig(r.Program)
	return r, nil
}

// settings asks ssh_config about q.
func (r *Resolver) settings(ctx context.Context, q query) (settings, error) {
	var s settings
	var err error
	if r.Program != "" && r.hasFiles() {
		s, err = r.askSSH(ctx, q)
	} else {
		s, err = r.readFiles(q)
	}
	if err != nil {
		return settings{}, err
	}
	if s.proxyCommand.value != "" {
		return settings{}, &SSHConfigError{
			Host:    q.name,
			Problem: fmt.Sprintf("ProxyCommand %q is not supported: no program is run to connect", abbreviate(s.proxyCommand.value)),
			Next:    next.Words("use ProxyJump instead, or set ProxyCommand none for this host"),
		}
	}
	return s, nil
}
