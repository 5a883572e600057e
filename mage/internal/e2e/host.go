package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Host is one entry of a project's vps.yaml.
type Host struct {
	Name, Address, KeyFile, HostKey string
	Port                            int
}

// Host is the entry for the server under some name.
func (s *Server) Host(name string) Host {
	return Host{Name: name, Address: s.address.String(), Port: 2222, KeyFile: s.keys.userFile, HostKey: s.keys.hostPublic}
}

// Hosts writes vps.yaml.
func (p *Project) Hosts(hosts ...Host) {
	p.t.Helper()
	var b strings.Builder
	b.WriteString("hosts:\n")
	for _, h := range hosts {
		fmt.Fprintf(&b, "  %s:\n    address: %s\n    port: %d\n    user: root\n", h.Name, h.Address, h.Port)
		fmt.Fprintf(&b, "    identity: %s\n    flake: %s\n    hostKey: %s\n", h.KeyFile, Output(), h.HostKey)
	}
	p.Write("vps.yaml", b.String())
}

// Secrets gives the project the server's age key, as bootstrap had it the other
// way round, and a secrets.yaml that the real sops has encrypted to it.
func (p *Project) Secrets(identity, recipient string) {
	p.t.Helper()
	Require(p.t, "sops")
	p.Write(".sops.yaml", "creation_rules:\n  - path_regex: ^secrets/secrets\\.yaml$\n    age:\n      - "+recipient+"\n")
	p.Write("secrets/age-key.txt", identity+"\n")
	noError(p.t, os.Chmod(p.path("secrets/age-key.txt"), 0o600))
	p.Write("secrets/secrets.yaml", "gateway-token: a token\nssh-public-key: ssh-ed25519 AAAA\n")
	sops := exec.Command("sops", "encrypt", "--in-place", "secrets/secrets.yaml")
	sops.Dir = p.Dir
	out, err := sops.CombinedOutput()
	noError(p.t, err, string(out))
}

// Project is a project with one server in its vps.yaml, called "web".
func (s *Server) Project() *Project {
	s.t.Helper()
	p := NewProject(s.t)
	p.Hosts(s.Host("web"))
	p.Secrets(s.AgeIdentity, s.AgeRecipient)
	return p
}
