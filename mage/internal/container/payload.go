package container

import (
	_ "embed" // for the ssh wrapper
	"errors"
	"fmt"
	"strings"
)

//go:embed ssh.sh
var sshWrapper string

// Payload is what an install needs and nobody else may see.
type Payload struct {
	Tree []File
	// InstallKey is the throw-away SSH key, in OpenSSH's format, without a
	// passphrase.
	InstallKey []byte
	// KnownKeys are the server's host keys as they were verified, each like
	// "ssh-ed25519 AAAA…". The installer trusts no other.
	KnownKeys []string
	AgeKey    []byte // content of the server's /var/lib/sops-nix/key.txt
	// HostKey is the new system's ed25519 host key in OpenSSH's format, and
	// HostKeyPublic its public half, one line.
	HostKey       []byte
	HostKeyPublic []byte
}

// Archive is what the container reads. Modes matter to the byte: the installer
// copies those of every folder in extra-files onto the new system's /var and
// /etc.
func (in Install) Archive(p Payload) ([]byte, error) {
	if err := errors.Join(in.check(), p.check()); err != nil {
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
	members = append(members, p.extraFiles()...)
	return writeArchive(append(members,
		folder("tmp/vps", 0o700),
		file("tmp/vps/ssh", 0o700, in.sshWrapper("/key/known_hosts")),
	))
}

func (p Payload) extraFiles() []member {
	const root = "extra-files"
	return []member{
		folder(root, 0o700), // nixos-anywhere itself makes /mnt 0755 again
		folder(root+"/etc", 0o755),
		folder(root+"/etc/ssh", 0o755),
		file(root+"/etc/ssh/ssh_host_ed25519_key", 0o600, p.HostKey),
		file(root+"/etc/ssh/ssh_host_ed25519_key.pub", 0o644, p.HostKeyPublic),
		folder(root+"/var", 0o755),
		folder(root+"/var/lib", 0o755),
		folder(root+"/var/lib/sops-nix", 0o700),
		file(root+"/var/lib/sops-nix/key.txt", 0o600, p.AgeKey),
	}
}

func (p Payload) knownHosts() []byte {
	var lines strings.Builder
	for _, key := range p.KnownKeys {
		fmt.Fprintf(&lines, "%s %s\n", alias, strings.TrimSpace(key))
	}
	return []byte(lines.String())
}

// check refuses an install that could only fail after the wipe, or that would
// trust a server that nobody has verified.
func (p Payload) check() error {
	for _, part := range []struct {
		name string
		data []byte
	}{
		{"install key", p.InstallKey}, {"age key", p.AgeKey},
		{"host key", p.HostKey}, {"public host key", p.HostKeyPublic},
	} {
		if len(part.data) == 0 {
			return fmt.Errorf("install: no %s", part.name)
		}
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
	).Replace(sshWrapper))
}
