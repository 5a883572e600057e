package remote

import (
	"cmp"
	"errors"
	"fmt"
	"github.com/dagadbm/vps/mage/internal/next"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultPort is the TCP port of a Target whose Port is zero.
const DefaultPort = 22

// None is what ssh_config writes for "no file": no identity, no known_hosts.
const None = "none"

// Target says where to log in, as whom, with which keys, and how the server
// proves that it is the right one. It is a plain value; the zero value of every
// field but Address has a sensible meaning.
type Target struct {
	Name    string // for messages; Address when empty
	Address string // name, IPv4 or IPv6 address, without port and brackets
	Port    int    // DefaultPort when zero
	User    string // "root" when empty

	// Identities are paths of private keys, or of public keys whose private
	// half an agent holds. A leading ~/ is the home folder; [None] alone means
	// that no key file is used, and an empty list the usual ones of ~/.ssh.
	Identities []string
	// SkipUnusable passes over identities that cannot be used, as ssh does with
	// those of ssh_config. Otherwise each of them is an [*IdentityError].
	SkipUnusable bool
	// IdentitiesOnly keeps an agent's other keys back.
	IdentitiesOnly bool
	// Certificates are files of user certificates, for keys that are identities
	// or held by the agent. With any, none is looked for beside the identities.
	Certificates []string
	// Agent is the socket of an SSH agent: "" means $SSH_AUTH_SOCK, "none" no
	// agent, "$NAME" the variable of that name.
	Agent string

	// HostKeyAlias replaces address and port where host keys are looked up and
	// recorded.
	HostKeyAlias string
	// KnownHosts and GlobalKnownHosts are files to look host keys up in; an
	// accepted key is recorded in the first of KnownHosts. Empty means what ssh
	// uses, and [None] alone no file. Files that do not exist are no error.
	KnownHosts, GlobalKnownHosts []string
	// HostKey pins the server's key, written as in authorized_keys
	// ("ssh-ed25519 AAAA…"). Then known_hosts is asked for revoked keys only.
	HostKey string

	// Options are what ssh_config can say beyond that.
	Options Options

	// Jumps are logged in to one after the other, each through the one before;
	// the target is reached through the last.
	Jumps []Target
}

// Options are settings of ssh_config(5) under the names that they have there. The
// zero value is what ssh does without any.
type Options struct {
	AddressFamily       string // "inet", "inet6", or "" for any
	BindAddress         string
	BindInterface       string
	ConnectTimeout      time.Duration // until the end of the key exchange
	ConnectionAttempts  int
	CheckHostIP         bool
	HashKnownHosts      bool
	RevokedHostKeys     string   // a list of public keys, or a KRL; must be readable
	StrictHostKeyCheck  string   // "yes", "accept-new", or "" to ask
	RequiredRSASize     int      // bits
	BatchMode           bool     // ask nothing
	PasswordPrompts     int      // NumberOfPasswordPrompts
	Methods             []string // PreferredAuthentications that are not switched off
	KexAlgorithms       []string
	Ciphers             []string
	MACs                []string
	HostKeyAlgorithms   []string
	PubkeyAlgorithms    []string
	CASignatures        []string // CASignatureAlgorithms
	NotFollowed         []string // "Keyword value" of settings that this package cannot follow, told when a login fails
	NotFollowedHostKeys []string // the same, told when a host key is not accepted
}

// Addr returns host:port, with brackets where an IPv6 address needs them.
func (t Target) Addr() string {
	return net.JoinHostPort(t.host(), strconv.Itoa(t.port()))
}

func (t Target) host() string {
	return strings.TrimSuffix(strings.TrimPrefix(t.Address, "["), "]")
}

func (t Target) port() int { return cmp.Or(t.Port, DefaultPort) }

func (t Target) name() string { return cmp.Or(t.Name, t.Address) }

func (t Target) user() string { return cmp.Or(t.User, "root") }

// lookup is the name under which known_hosts has the server: in lower case, and
// with a port other than ssh's own as [host]:port. An alias has no port.
func (t Target) lookup() string {
	switch {
	case t.HostKeyAlias != "":
		return strings.ToLower(t.HostKeyAlias)
	case t.port() == DefaultPort:
		return t.bareLookup()
	}
	return fmt.Sprintf("[%s]:%d", t.bareLookup(), t.port())
}

// bareLookup is lookup without a port. ssh accepts a key that is known so on
// every port.
func (t Target) bareLookup() string {
	return strings.ToLower(cmp.Or(t.HostKeyAlias, t.host()))
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

// isNone says whether a list of files is "none", rather than not given.
func isNone(files []string) bool { return len(files) == 1 && strings.EqualFold(files[0], None) }

// HomeDir is the home folder of the user whom ssh sees: the one of the password
// file, whatever HOME says. A user that the password file does not know has HOME.
func HomeDir() (string, error) {
	if me, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil && me.HomeDir != "" {
		return me.HomeDir, nil
	}
	if home := os.Getenv("HOME"); home != "" {
		return home, nil
	}
	return "", next.With(fmt.Errorf("user %d has no home folder: the password file does not list it, and HOME is not set", os.Getuid()),
		next.Words("run as a user that /etc/passwd lists, or set HOME"))
}

// home is the folder that ~ stands for.
func (d *Dialer) home() string {
	if d.Home != "" {
		return d.Home
	}
	home, err := HomeDir()
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

// notFollowed adds to an error's text what ssh_config says and this package does
// not do: there ssh may get further.
func notFollowed(settings []string) string {
	if len(settings) == 0 {
		return ""
	}
	return fmt.Sprintf(" (not supported here, from ssh_config: %s)", strings.Join(settings, ", "))
}

// allowed keeps those of the algorithms that a list of ssh_config has, in the
// list's order; an empty list is no restriction.
func allowed(list, algorithms []string) []string {
	if len(list) == 0 {
		return algorithms
	}
	var kept []string
	for _, pattern := range list {
		pattern = strings.TrimSuffix(pattern, "@libssh.org") // of curve25519-sha256, before it had a name
		for _, a := range algorithms {
			if matchPattern(a, pattern) && !slices.Contains(kept, a) {
				kept = append(kept, a)
			}
		}
	}
	return kept
}

// errNoAlgorithm is wrapped where a setting leaves nothing to offer.
var errNoAlgorithm = errors.New("no algorithm is left")

func noneLeft(t Target, keyword string, list []string) error {
	return next.With(fmt.Errorf("logging in to %s: %w by %s %s in ssh_config: what it lists is not supported here, or broken (SHA-1)",
		t.name(), errNoAlgorithm, keyword, printable(strings.Join(list, ","), 120)),
		next.Say("change %s for %s in ssh_config, or remove it there", keyword, t.name()))
}
