package facts

import (
	"bytes"
	"io/fs"
	"path"

	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/nix"
)

// shipped are the secrets that the nix/ of this repository declares, in all its
// outputs. A test asks Nix whether that is so.
var shipped = []secrets.Declared{
	{
		Name: "gateway-token", Key: "gateway-token", File: "secrets/secrets.yaml", Format: "yaml",
		Path: "/run/secrets/gateway-token", Owner: "openclaw", Mode: "0400",
	},
	{
		Name: "ssh-public-key", Key: "ssh-public-key", File: "secrets/secrets.yaml", Format: "yaml",
		Path: "/run/secrets-for-users/ssh-public-key", Owner: "root", Mode: "0444", NeededForUsers: true,
	},
}

// Shipped gives the secrets of a project whose configuration is, to the byte, the
// one that this program brings along, so that a new project can be filled before
// anybody can ask Nix. read gives a file of the flake's folder.
func Shipped(read func(name string) ([]byte, error)) ([]secrets.Declared, bool) {
	same := true
	err := fs.WalkDir(nix.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".nix" {
			return err
		}
		brought, err := nix.Files.ReadFile(name)
		if err != nil {
			return err
		}
		found, err := read(name)
		same = same && err == nil && bytes.Equal(brought, found)
		return nil
	})
	return shipped, err == nil && same
}
