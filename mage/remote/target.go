package remote

import (
	"cmp"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// DefaultPort is the TCP port of a Target whose Port is zero.
const DefaultPort = 22

// Target says where to log in, as whom, with which keys, and how the server
// proves that it is the right one. It is a plain value; the zero value of every
// field but Address has a sensible meaning.
type Target struct {
	Name    string // for messages; Address when empty
	Address string // name, IPv4 or IPv6 address, without port and brackets
	Port    int    // DefaultPort when zero
	User    string // "root" when empty

	// Identities are paths of private keys, or of public keys whose private
	// half an agent holds. A leading ~/ is the home folder.
	Identities []string
	// IdentitiesOnly keeps an agent's other keys back.
	IdentitiesOnly bool
	// Agent is the socket of an SSH agent: "" means $SSH_AUTH_SOCK, "none" no
	// agent, "$NAME" the variable of that name.
	Agent string

	// HostKeyAlias replaces address and port where host keys are looked up and
	// recorded.
	HostKeyAlias string
	// KnownHosts and GlobalKnownHosts are files to look host keys up in; an
	// accepted key is recorded in the first of KnownHosts. Empty means what ssh
	// uses. Files that do not exist are no error; "none" is no file.
	KnownHosts, GlobalKnownHosts []string
	// HostKey pins the server's key, written as in authorized_keys
	// ("ssh-ed25519 AAAA…"). Then known_hosts is not consulted.
	HostKey string

	// Jumps are logged in to one after the other, each through the one before;
	// the target is reached through the last.
	Jumps []Target
}

// Addr returns host:port, with brackets where an IPv6 address needs them.
func (t Target) Addr() string {
	return net.JoinHostPort(t.host(), strconv.Itoa(cmp.Or(t.Port, DefaultPort)))
}

func (t Target) host() string {
	return strings.TrimSuffix(strings.TrimPrefix(t.Address, "["), "]")
}

func (t Target) name() string { return cmp.Or(t.Name, t.Address) }

func (t Target) user() string { return cmp.Or(t.User, "root") }

// lookup is the host:port under which known_hosts knows the server. Names are
// compared in lower case, and an alias has no port, as in ssh.
func (t Target) lookup() string {
	if t.HostKeyAlias != "" {
		return net.JoinHostPort(strings.ToLower(t.HostKeyAlias), strconv.Itoa(DefaultPort))
	}
	return strings.ToLower(t.Addr())
}

// account identifies a login for the memory of accepted keys.
func (t Target) account() string { return t.user() + "@" + t.lookup() }

// hops lists the jump hosts, their own jump hosts included, and the target last.
func (t Target) hops() []Target {
	var hops []Target
	for _, jump := range t.Jumps {
		hops = append(hops, jump.hops()...)
	}
	return append(hops, t)
}

// home is the folder that ~ stands for.
func (d *Dialer) home() string {
	if d.Home != "" {
		return d.Home
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/nonexistent"
	}
	return home
}

func (d *Dialer) expand(path string) string {
	if path == "~" {
		return d.home()
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(d.home(), rest)
	}
	return path
}
