package secrets

import (
	"os"
	"path/filepath"
)

// Project is the folder that holds secrets/, .sops.yaml and nix/.
type Project struct {
	Dir string
}

// SecretsFile is the encrypted file, which is committed.
func (p Project) SecretsFile() string { return filepath.Join(p.Dir, "secrets", "secrets.yaml") }

// SecretsDir is the folder of the encrypted file and the key.
func (p Project) SecretsDir() string { return filepath.Join(p.Dir, "secrets") }

// RulesFile is sops' own configuration: who can decrypt what.
func (p Project) RulesFile() string { return filepath.Join(p.Dir, ".sops.yaml") }

// KeyFile is the private key, which is never committed.
func (p Project) KeyFile() string { return filepath.Join(p.Dir, "secrets", "age-key.txt") }

// ExampleKeyFile is the public key pair with which a fresh clone works at once.
func (p Project) ExampleKeyFile() string { return filepath.Join(p.Dir, "testdata", "age-key.txt") }

// IgnoreFile keeps the key out of git.
func (p Project) IgnoreFile() string { return filepath.Join(p.Dir, ".gitignore") }

// RotationFile is what an unfinished rotation remembers. It holds no secret.
func (p Project) RotationFile() string { return filepath.Join(p.Dir, ".vps", "rotation.json") }

func readIgnore(p Project) (string, error) {
	data, err := os.ReadFile(p.IgnoreFile())
	return string(data), err
}
