package vpstest

import (
	"time"

	"golang.org/x/crypto/ssh"
)

// Option changes how a [Server] is made.
type Option func(*config)

type config struct {
	user         string
	sudo         sudoKind
	tree         map[string]string
	output       string
	ageKey       string
	arch         string
	hostname     string
	noSystemd    bool
	noNixOS      bool
	noRecovery   bool
	bsd          bool
	free         map[string]int64
	programs     map[string]string
	mounts       []string
	lingering    []string
	hostKeys     []ssh.Signer
	authorized   []ssh.PublicKey
	links        func(n int) Link
	hook         func(*Server, Call)
	traced       []string
	keepUnsynced bool
	diskSize     int64
	bootTime     time.Duration
}

type sudoKind int

const (
	sudoFree sudoKind = iota
	sudoAsks
	sudoMissing
	sudoDoas
	sudoRun0
)

func defaults() config {
	return config{
		user: "root", arch: "x86_64", hostname: "vps", output: "vps-x86",
		links: func(int) Link { return Link{} },
	}
}

// WithTree makes files, by their path, the content of /etc/nixos, and the first
// system the one that is built from them.
func WithTree(files map[string]string) Option { return func(c *config) { c.tree = files } }

// WithAgeKey makes text the content of /var/lib/sops-nix/key.txt.
func WithAgeKey(text string) Option { return func(c *config) { c.ageKey = text } }

// WithUser lets name log in instead of root. It becomes root by sudo.
func WithUser(name string) Option { return func(c *config) { c.user = name } }

// WithSudoPassword makes sudo ask for a password, which "sudo -n" refuses to do.
func WithSudoPassword() Option { return func(c *config) { c.sudo = sudoAsks } }

// WithoutSudo leaves sudo out.
func WithoutSudo() Option { return func(c *config) { c.sudo = sudoMissing } }

// WithDoas has doas in place of sudo.
func WithDoas() Option { return func(c *config) { c.sudo = sudoDoas } }

// WithRun0 has run0 in place of sudo.
func WithRun0() Option { return func(c *config) { c.sudo = sudoRun0 } }

// WithArch sets what uname -m prints: x86_64 (the default) or aarch64.
func WithArch(arch string) Option { return func(c *config) { c.arch = arch } }

// WithHostname sets the server's own name.
func WithHostname(name string) Option { return func(c *config) { c.hostname = name } }

// WithoutSystemd makes a server on which systemd is not running.
func WithoutSystemd() Option { return func(c *config) { c.noSystemd = true } }

// WithoutNixOS makes the server another Linux: no /etc/NIXOS, no systems.
func WithoutNixOS() Option { return func(c *config) { c.noNixOS = true } }

// WithoutRecovery leaves out the unit that finishes or undoes an interrupted
// commit when the server starts.
func WithoutRecovery() Option { return func(c *config) { c.noRecovery = true } }

// WithFree makes df report that many kilobytes as free below path.
func WithFree(path string, kilobytes int64) Option {
	return func(c *config) {
		if c.free == nil {
			c.free = map[string]int64{}
		}
		c.free[path] = kilobytes
	}
}

// WithMount makes path a mount point, as far as mountpoint says.
func WithMount(path string) Option { return func(c *config) { c.mounts = append(c.mounts, path) } }

// WithPrograms adds programs, or replaces some: each a name and its script. An
// empty script takes the program away.
func WithPrograms(scripts map[string]string) Option {
	return func(c *config) { c.programs = scripts }
}

// WithLingering adds a user whose services run without a login. Users are
// numbered from 1001 on.
func WithLingering(user string) Option {
	return func(c *config) { c.lingering = append(c.lingering, user) }
}

// WithHostKey makes the server show these keys (or certificates) instead of an
// ed25519 key of its own.
func WithHostKey(keys ...ssh.Signer) Option { return func(c *config) { c.hostKeys = keys } }

// WithAuthorizedKey lets another key log in too.
func WithAuthorizedKey(keys ...ssh.PublicKey) Option {
	return func(c *config) { c.authorized = append(c.authorized, keys...) }
}

// WithLinks asks for the [Link] of every connection, which are numbered from 1.
func WithLinks(links func(n int) Link) Option { return func(c *config) { c.links = links } }

// WithLink makes every connection behave like link.
func WithLink(link Link) Option {
	return WithLinks(func(int) Link { return link })
}

// WithHook calls hook before each call of a played program is carried out. The
// hook may end the server's life ([Server.Restart], [Server.PowerCut]); then the
// call never happens.
func WithHook(hook func(*Server, Call)) Option { return func(c *config) { c.hook = hook } }

// WithTrace makes calls of programs that are not played (mv, ln, rm) pass the
// hook and the list of [Server.Calls] too, before they run.
func WithTrace(programs ...string) Option { return func(c *config) { c.traced = programs } }

// WithPowerCuts prepares for [Server.PowerCut], at the cost of a copy of the
// server's persistent files at each sync.
func WithPowerCuts() Option { return func(c *config) { c.keepUnsynced = true } }

// WithDiskSize gives the server a disk of its own of so many bytes, which can be
// full. It needs Linux and root; elsewhere the server does not start.
func WithDiskSize(bytes int64) Option { return func(c *config) { c.diskSize = bytes } }

// WithBootTime makes a restart take that long.
func WithBootTime(d time.Duration) Option { return func(c *config) { c.bootTime = d } }

// WithBSD makes this server use the programs that macOS lacks in the form in which
// it gets them there, and refuse what only GNU programs know.
func WithBSD() Option { return func(c *config) { c.bsd = true } }
