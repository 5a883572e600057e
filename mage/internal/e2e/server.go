package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// Server is one server: a container that runs systemd as PID 1. It is gone when
// the test ends. Its methods fail the test on any error; none of them may be
// called from another goroutine than the test's.
type Server struct {
	// AgeIdentity is the server's age secret key, at /var/lib/sops-nix/key.txt.
	AgeIdentity string
	// AgeRecipient is the public half of AgeIdentity.
	AgeRecipient string

	t         testing.TB
	container string
	address   netip.Addr
	keys      keys
	disk      *disk
	options   options
}

type options struct {
	onDisk bool
	suite  string
	files  map[string]string
}

// Option changes how a server is made.
type Option func(*options)

// OnDisk gives the server an ext4 disk of its own as its root, so that its power
// can be cut. Without it the root is a container's, which needs no loop device.
func OnDisk() Option { return func(o *options) { o.onDisk = true } }

// Newest makes the server of a Debian with systemd 262 or later, which stops none of
// several units if one of them is absent.
func Newest() Option { return func(o *options) { o.suite = "forky" } }

// WithFile puts a file on the server before it starts for the first time, owned
// by root, mode 0600.
func WithFile(path, content string) Option {
	return func(o *options) { o.files[path] = content }
}

const (
	bootLimit    = 120 * time.Second
	commandLimit = 2 * time.Minute
)

// Start starts a server that runs generation 1 of the toy NixOS, as bootstrap
// would leave it but without /etc/nixos, and waits until it has started.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	Require(t, "docker", "debootstrap", "ssh-keygen")
	o := options{files: map[string]string{}}
	for _, opt := range opts {
		opt(&o)
	}
	s := &Server{t: t, options: o, keys: newKeys(t)}
	s.AgeIdentity, s.AgeRecipient = newAgeKey(t)
	for path, content := range s.secretFiles() {
		o.files[path] = content
	}
	s.create(image(t, o.suite))
	s.Boot()
	return s
}

// secretFiles is what only this server has: bootstrap's extra-files and the
// plain text of what sops would decrypt on a real one.
func (s *Server) secretFiles() map[string]string {
	return map[string]string{
		"/etc/ssh/ssh_host_ed25519_key":       s.keys.hostPrivate,
		"/var/lib/sops-nix/key.txt":           s.AgeIdentity + "\n",
		"/var/lib/toy-secrets/ssh-public-key": s.keys.userPublic,
		"/var/lib/toy-secrets/gateway-token":  "a token\n",
	}
}

func (s *Server) create(image string) {
	s.t.Helper()
	if s.options.onDisk {
		s.disk = newDisk(s.t, image)
		s.disk.write(s.options.files)
	}
	// Addresses are drawn, not counted: test packages run side by side.
	subnet := netip.MustParsePrefix(run(s.t, commandLimit, "docker", "network", "inspect",
		"--format", "{{(index .IPAM.Config 0).Subnet}}", "vps-e2e"))
	s.address = draw(subnet)
	s.container = run(s.t, commandLimit, append(s.flags(), image)...)
	s.t.Cleanup(s.remove)
	if s.disk == nil {
		deliver(s.t, s.container, s.options.files)
	}
}

// flags are what systemd needs to run in a container that is not privileged.
func (s *Server) flags() []string {
	argv := []string{
		"docker", "create", "--label", "vps-e2e", "--label", "vps-e2e.run=" + os.Getenv("VPS_E2E_RUN"),
		"--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--cgroupns", "private",
		"--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",
		"--network", "vps-e2e", "--ip", s.address.String(),
	}
	if s.disk != nil {
		argv = append(argv, "--volume", s.disk.mountpoint+":/sysroot")
	}
	return argv
}

// Boot starts a server that is off and waits until systemd says that it is up,
// with or without failed units.
func (s *Server) Boot() {
	s.t.Helper()
	run(s.t, commandLimit, "docker", "start", s.container)
	eventually(s.t, bootLimit, "the server's start", func() bool {
		state, _ := s.Try("systemctl is-system-running --wait")
		return state == "running" || strings.HasPrefix(state, "degraded")
	})
}

// Kill turns the server off at once, as "docker kill" does: its processes are
// gone, but what they wrote is not lost. See [Server.CutPower].
func (s *Server) Kill() {
	s.t.Helper()
	s.stop("kill", s.container)
}

// stop runs a docker command that ends the container. "wait", because a busy
// engine learns of the end later, and would until then take a start for done.
func (s *Server) stop(argv ...string) {
	s.t.Helper()
	run(s.t, commandLimit, append([]string{"docker"}, argv...)...)
	run(s.t, commandLimit, "docker", "wait", s.container)
}

// Restart is Kill and Boot.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.Boot()
}

// Shutdown turns the server off in order, as its own poweroff would.
func (s *Server) Shutdown() {
	s.t.Helper()
	s.stop("stop", "--time", "30", s.container)
}

// CutPower turns off a server [OnDisk] so that everything is lost that was not
// on its disk yet. It stays off until Boot. With journal, the file system's own
// five seconds have just passed: it has written the names and sizes of files,
// but not what is in them, which is how files become empty.
func (s *Server) CutPower(journal bool) {
	s.t.Helper()
	if s.disk == nil {
		s.t.Fatal("only a server OnDisk has a power cord")
	}
	s.disk.cutPower(journal)
	s.stop("kill", s.container)
	s.disk.recover()
}

// Unplug takes the network away: packets vanish, connections hang.
func (s *Server) Unplug() {
	s.t.Helper()
	s.Exec("ip link set eth0 down")
}

// Plug gives the network back.
func (s *Server) Plug() {
	s.t.Helper()
	s.Exec("ip link set eth0 up")
}

// CutLogins ends every SSH connection there is, from the server's side, and
// leaves what runs in them alone.
func (s *Server) CutLogins() {
	s.t.Helper()
	s.Exec("pkill -KILL -f '^sshd-session' || true")
}

// remove runs at the end of the test. A failed one says what the server saw.
func (s *Server) remove() {
	if s.t.Failed() {
		s.t.Log(s.story())
	}
	_, err := try(commandLimit, "docker", "rm", "--force", "--volumes", s.container)
	noError(s.t, err)
}

func (s *Server) story() string {
	console, _ := try(commandLimit, "/bin/sh", "-c", `docker inspect --format '{{json .State}}' "$1"; docker logs --tail 50 "$1" 2>&1`, "sh", s.container)
	journal, _ := s.Try("journalctl --no-pager --lines 150 --output short-monotonic")
	runs, _ := s.Try("tail -n 40 /var/lib/vps/runs/*/log /var/lib/vps/runs/*/status")
	return fmt.Sprintf("console of %s:\n%s\njournal:\n%s\nruns:\n%s", s.address, console, journal, runs)
}
