// Package demo sets the stage for the demo and for the pictures in the README: a
// project made by init, and a played server that it can be deployed to.
package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/vpstest"
	"golang.org/x/crypto/ssh"
)

// HostName is what the project calls its server.
const HostName = "web-1"

// Lab is a project in a temporary folder and, once there is one, its server.
type Lab struct {
	Dir    string // the project
	Server *vpstest.Server
	base   string
}

// New makes the folder of a lab. Close removes it.
func New() (*Lab, error) {
	base, err := os.MkdirTemp("", "vps-demo-")
	if err != nil {
		return nil, err
	}
	return &Lab{Dir: filepath.Join(base, "servers"), base: base}, nil
}

// loginKey makes the public key that may log in, and gives its file.
func (l *Lab) loginKey() (string, error) {
	key, err := vpstest.NewKey()
	if err != nil {
		return "", err
	}
	public := filepath.Join(l.base, "id_ed25519.pub")
	return public, os.WriteFile(public, ssh.MarshalAuthorizedKey(key.PublicKey()), 0o644)
}

// Init makes the project with an age key of its own and an SSH key that may log
// in. Nothing of the person's own is read: no keys, no environment.
func (l *Lab) Init(ctx context.Context) error {
	public, err := l.loginKey()
	if err != nil {
		return err
	}
	return deploy.Init(ctx, l.Dir, nil, deploy.InitOptions{SSHKey: public, Getenv: func(string) string { return "" }})
}

// StartServer starts the played server with the project's age key, as bootstrap
// would leave it, and puts it into vps.yaml and its port into nix/.
func (l *Lab) StartServer() error {
	ageKey, err := os.ReadFile(secrets.Project{Dir: l.Dir}.KeyFile())
	if err != nil {
		return err
	}
	if l.Server, err = vpstest.New(vpstest.WithHostname(HostName), vpstest.WithAgeKey(string(ageKey))); err != nil {
		return fmt.Errorf("start the played server: %w", err)
	}
	if err := l.Server.WriteFile("/dev/sda", ""); err != nil {
		return err
	}
	// A real one has port 2222; the played one has whichever is free.
	if err := l.Change("nix/modules/security.nix", "default = 2222", fmt.Sprintf("default = %d", l.Server.Port())); err != nil {
		return err
	}
	return l.write("vps.yaml", l.Config())
}

// Config is vps.yaml with the played server in it.
func (l *Lab) Config() string {
	return fmt.Sprintf("hosts:\n  %s:\n    address: %s\n    port: %d\n    identity: %s\n    hostKey: %s\n",
		HostName, l.Server.Host(), l.Server.Port(), l.Server.ClientKeyFile(), l.Server.HostKeyLine())
}

// Change replaces text that must be in a file of the project.
func (l *Lab) Change(name, old, new string) error {
	text, err := os.ReadFile(filepath.Join(l.Dir, name))
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), old) {
		return fmt.Errorf("%s does not contain %q", name, old)
	}
	return l.write(name, strings.Replace(string(text), old, new, 1))
}

// Behave says how systems built from now on behave. The played server does not
// evaluate Nix: it reads this.
func (l *Lab) Behave(s vpstest.System) error { return l.write("nix/"+vpstest.ConfFile, s.Conf()) }

func (l *Lab) write(name, text string) error {
	return os.WriteFile(filepath.Join(l.Dir, name), []byte(text), 0o644)
}

// Close ends the server and removes the project.
func (l *Lab) Close() error {
	if l.Server != nil {
		if err := l.Server.Close(); err != nil {
			return err
		}
	}
	return os.RemoveAll(l.base)
}
