package bootstrap

import (
	"context"
	"io"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/secrets"
)

// Project is what an install needs of the project that it is made from. The
// functions are what other workflows do as well.
type Project struct {
	Dir      string
	Config   *config.Config
	Dialer   *remote.Dialer // for its timeouts; an install has one of its own
	Prompter remote.Prompter
	Log      *observe.Log
	// InstallerPort is where the installer's own system listens; 0 is 22.
	InstallerPort int
	// Who and From name the person and the machine, for others to read.
	Who, From string

	// Host resolves what was typed.
	Host func(ctx context.Context, arg string) (config.Host, error)
	// Prepare collects and checks what would be installed.
	Prepare func(ctx context.Context) (*Prepared, error)
	// Update brings the installed host to the present tree, over logins of this
	// dialer, and gives its generation. Its error tells its state and the next
	// step.
	Update func(ctx context.Context, d *remote.Dialer, h config.Host) (generation int, err error)
}

// Prepared is what can be known on the laptop before a server is touched.
type Prepared struct {
	Tree       []container.File
	Identities *secrets.Identities
	// Recipients are those of the sops files that a host needs.
	Recipients func(facts.Host) []string
	// Source names the file of the project that is at a path of the tree.
	Source   func(file string) string
	Locked   bool // there is a flake.lock
	Warnings []string
	// Evaluate asks Nix about these outputs, or about all.
	Evaluate func(ctx context.Context, log io.Writer, outputs ...string) (*facts.Answer, error)
	// Missing tells that a host declares a secret that is not there.
	Missing func(facts.Host) error
}
