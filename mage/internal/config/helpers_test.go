package config

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/require"
)

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGOnA0IYsmbNGzcWcaWrlBYM3o8SEAUmSh7qHt3QLrq2"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAzQeBBjO6nWVlTpNnNmAdnuA2pPBLH8dyvQRvHbK4EV"
)

// write makes a file in a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// resolver resolves with the given vps.yaml and ssh_config for a made-up user. An
// ssh_config needs the real ssh program: the test is skipped where there is none.
func resolver(t *testing.T, vps, ssh string) *Resolver {
	t.Helper()
	cfg, err := Parse("vps.yaml", []byte(vps))
	require.NoError(t, err)
	dir := t.TempDir()
	cfg.Path = filepath.Join(dir, FileName)
	r := &Resolver{
		Config:    cfg,
		SSHConfig: "none",
		Run:       runSSH,
		Home:      "/home/me",
		Dir:       "/work",
		User:      "me",
		UID:       1000,
		Hostname:  "laptop.example.net",
		LookupEnv: func(name string) (string, bool) { return "env-" + name, name == "SET" },
	}
	if ssh != "" {
		r.SSHConfig = write(t, dir, "ssh_config", ssh)
		withSSH(t, r)
	}
	return r
}

// withSSH makes a resolver ask the real ssh program, which has its own idea of who
// the user is.
func withSSH(t *testing.T, r *Resolver) {
	t.Helper()
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("no ssh program is installed")
	}
	real, err := NewResolver(r.Config)
	require.NoError(t, err)
	r.Program, r.Home, r.User, r.UID = program, real.Home, real.User, real.UID
}

func one(t *testing.T, r *Resolver, arg string) Host {
	t.Helper()
	h, err := r.ResolveOne(context.Background(), arg)
	require.NoError(t, err)
	return h
}

// hint is what an error advises.
func hint(t *testing.T, err error) string {
	t.Helper()
	var h interface{ NextStep() next.Step }
	require.ErrorAs(t, err, &h)
	return h.NextStep().String()
}
