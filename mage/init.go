package mage

import (
	"cmp"
	"context"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/terminal"
)

// Init turns a folder into a project: magefile, vps.yaml, nix/, secrets and their key. It overwrites nothing.
func Init(ctx context.Context,
	dir *string, // the folder; made if it is missing (.)
	sshkey *string, // public key file that may log in; without it, you are asked about the usual ones
) error {
	return guarded(ctx, func(ctx context.Context) error {
		return deploy.Init(ctx, cmp.Or(path(dir), "."), terminal.On(term.Std()), deploy.InitOptions{SSHKey: path(sshkey)})
	})
}
