package container

import (
	"cmp"
	_ "embed" // for the ssh wrapper
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
)

//go:embed ssh.sh
var sshWrapper string

// Payload is what an install needs and nobody else may see. What only StageSystem
// needs stays out of the other stage's container.
type Payload struct {
	Tree []File
	// InstallKey is the throw-away SSH key, in OpenSSH's format, without a
	// passphrase.
	InstallKey []byte
	// KnownKeys are the server's host keys as they were verified, each like
	// "ssh-ed25519 AAAA…". The installer trusts no other.
	KnownKeys []string
	AgeKey    []byte // content of the server's age key file
	// AgeKeyPath is where that file is; "" is DefaultAgeKeyPath.
	AgeKeyPath string
	// HostKey is the new system's ed25519 host key in OpenSSH's format, and
	// HostKeyPublic its public half, one line.
	HostKey       []byte
	HostKeyPublic []byte
	// DiskKeys are the keys of encrypted disks.
	DiskKeys [][]byte
}

// Archive is what the container reads. Modes matter to the byte: the installer
// copies those of every folder in extra-files onto the new system's /var and
// /etc.
func (in Install) Archive(p Payload) ([]byte, error) {
	if err := errors.Join(in.check(), p.check(in)); err != nil {
		return nil, err
	}
	members, err := treeMembers("work", p.Tree)
	if err != nil {
		return nil, err
	}
	members = append(members,
		folder("key", 0o700),
		file("key/id_ed25519", 0o600, p.InstallKey),
		file("key/known_hosts", 0o600, p.knownHosts()),
	)
	for i, key := range p.DiskKeys {
		members = append(members, file(fmt.Sprintf("key/disk-%d", i), 0o600, key))
	}
	if in.Stage == StageSystem {
		members = append(members, p.extraFiles()...)
	}
	return writeArchive(append(members,
		folder("tmp/vps", 0o700),
		file("tmp/vps/ssh", 0o700, in.sshWrapper("/key/known_hosts")),
	))
}

// commonFolders are folders of the new system that others need, too. What lies
// in another one lies in a folder for root alone.
var commonFolders = map[string]int64{
	"/boot": 0o755, "/etc": 0o755, "/etc/ssh": 0o755, "/home": 0o755, "/nix": 0o755, "/opt": 0o755, "/persist": 0o755,
	"/root": 0o700, "/srv": 0o755, "/usr": 0o755, "/var": 0o755, "/var/lib": 0o755,
}

// extraFiles are what the installer lays over the new system.
func (p Payload) extraFiles() []member {
	const root = "extra-files"
	members := []member{folder(root, 0o700)} // nixos-anywhere itself makes /mnt 0755 again
	made := map[string]bool{"/": true}
	var parents func(dir string, mode int64)
	parents = func(dir string, mode int64) {
		if made[dir] {
			return
		}
		made[dir] = true
		parents(path.Dir(dir), 0o755)
		if common, ok := commonFolders[dir]; ok {
			mode = common
		}
		members = append(members, folder(root+dir, mode))
	}
	put := func(name string, mode int64, data []byte) {
		parents(path.Dir(name), 0o700)
		members = append(members, file(root+name, mode, data))
	}
	put("/etc/ssh/ssh_host_ed25519_key", 0o600, p.HostKey)
	put("/etc/ssh/ssh_host_ed25519_key.pub", 0o644, p.HostKeyPublic)
	put(p.ageKeyPath(), 0o600, p.AgeKey)
	return members
}

// DefaultAgeKeyPath is where the new system's age key is put unless its
// configuration looks elsewhere.
const DefaultAgeKeyPath = "/var/lib/sops-nix/key.txt"

func (p Payload) ageKeyPath() string { return cmp.Or(p.AgeKeyPath, DefaultAgeKeyPath) }

func (p Payload) knownHosts() []byte {
	var lines strings.Builder
	for _, key := range p.KnownKeys {
		fmt.Fprintf(&lines, "%s %s\n", alias, strings.TrimSpace(key))
	}
	return []byte(lines.String())
}

// check refuses an install that could only fail after the wipe, or that would
// trust a server that nobody has verified.
func (p Payload) check(in Install) error {
	for _, part := range []struct {
		name  string
		data  []byte
		stage Stage
	}{
		{"install key", p.InstallKey, StageInstaller}, {"age key", p.AgeKey, StageSystem},
		{"host key", p.HostKey, StageSystem}, {"public host key", p.HostKeyPublic, StageSystem},
	} {
		if len(part.data) == 0 && in.Stage >= part.stage {
			return fmt.Errorf("install: no %s", part.name)
		}
	}
	if name := p.ageKeyPath(); !path.IsAbs(name) || path.Clean(name) != name || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("install: the age key cannot be put at %q", name)
	}
	if len(p.DiskKeys) != len(in.DiskKeys) {
		return fmt.Errorf("install: %d keys for %d encrypted disks", len(p.DiskKeys), len(in.DiskKeys))
	}
	if len(p.KnownKeys) == 0 {
		return errors.New("install: no verified host key of the server")
	}
	for _, key := range p.KnownKeys {
		if len(strings.Fields(key)) < 2 || strings.ContainsAny(strings.TrimSpace(key), "\r\n") || strings.HasPrefix(key, "@") {
			return fmt.Errorf("install: %q is no host key", key)
		}
	}
	return nil
}

// sshWrapper is the script that stands before ssh. Its values hold nothing
// that a shell would read: check sees to it.
func (in Install) sshWrapper(knownHosts string) []byte {
	return []byte(strings.NewReplacer(
		"@known_hosts@", knownHosts,
		"@alias@", alias,
		"@address@", in.Address,
		"@mark@", in.Mark,
	).Replace(sshWrapper))
}
