package config

import "github.com/dagadbm/vps/mage/remote"

// Target is the host as SSH dials it.
func (h Host) Target() remote.Target {
	t := remote.Target{
		Name:             h.Name,
		Address:          h.Address,
		Port:             h.Port,
		User:             h.User,
		Identities:       h.Identities,
		IdentitiesOnly:   h.IdentitiesOnly,
		Agent:            h.IdentityAgent,
		HostKeyAlias:     h.HostKeyAlias,
		KnownHosts:       h.KnownHosts,
		GlobalKnownHosts: h.GlobalKnownHosts,
		HostKey:          h.HostKey,
	}
	for _, jump := range h.Jumps {
		t.Jumps = append(t.Jumps, jump.Target())
	}
	return t
}

// systems maps what uname says to the names that vps.yaml has for it.
var systems = map[string]string{"x86_64": "x86", "aarch64": "arm"}

// SystemOf is what vps.yaml calls an architecture, as uname names it; "" for one
// that is not supported.
func SystemOf(arch string) string { return systems[arch] }

// Output names the flake output that the host is built from when it has this
// architecture.
func (h Host) Output(arch string) string {
	if h.Flake != "" {
		return h.Flake
	}
	return "vps-" + systems[arch]
}

// FileNameOf makes a host's name one path element.
func FileNameOf(name string) string {
	safe := []byte(name)
	for i, c := range safe {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.' && i > 0:
		default:
			safe[i] = '_'
		}
	}
	return string(safe)
}
