package fresh

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Server is one server, from the day it is rented. It is gone when the test
// ends. Its methods fail the test on any error; none may be called from another
// goroutine than the test's.
type Server struct {
	// KeyFile is the path of the private key that may log in, before the
	// installation as root and admin, after it as root.
	KeyFile string
	// PublicKey is its public half, one line.
	PublicKey string
	// HostKey is the public host key of the Debian, "ssh-ed25519 AAAA…".
	HostKey string
	// AgeIdentity and AgeRecipient are the key that the new system must get: it
	// has its secrets only with that one.
	AgeIdentity, AgeRecipient string

	t         testing.TB
	container string
	address   netip.Addr
}

type options struct {
	knobs map[string]string
	hosts []string
}

// Option changes how a server is made.
type Option func(*options)

// WithKnob puts a fault in the way: a piece of shell that runs on the server at
// a place, which is one of kexec (before the old system is left), disko (before
// the disk is wiped), nixos-install (before anything is installed) and boot
// (when the firmware starts what was installed).
func WithKnob(place, script string) Option {
	return func(o *options) { o.knobs[place] = script }
}

// WithNeighbour lets the server know another one by a name that nobody else
// knows, as a jump host does.
func WithNeighbour(name string, s *Server) Option {
	return func(o *options) { o.hosts = append(o.hosts, name+":"+s.address.String()) }
}

// Start starts a fresh server and waits until its sshd answers.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	_, image := images(t)
	o := options{knobs: map[string]string{}}
	for _, opt := range opts {
		opt(&o)
	}
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	s := &Server{t: t, AgeIdentity: identity.String(), AgeRecipient: identity.Recipient().String()}
	private, public := NewSSHKey(t)
	s.PublicKey = public
	s.KeyFile = filepath.Join(t.TempDir(), "id_ed25519")
	require.NoError(t, os.WriteFile(s.KeyFile, []byte(private), 0o600))
	require.NoError(t, os.WriteFile(s.KeyFile+".pub", []byte(public+"\n"), 0o644))
	s.create(image, o)
	run(t, limit, "docker", "start", s.container)
	s.Await("systemctl is-active ssh.service", time.Minute)
	return s
}

// files is what makes this server another than the next.
func (s *Server) files(o options) []file {
	hostPrivate, hostPublic := NewSSHKey(s.t)
	s.HostKey = hostPublic
	sum := sha256.Sum256([]byte(s.AgeIdentity + "\n"))
	files := []file{
		{path: "root/.ssh/", mode: 0o700},
		{path: "root/.ssh/authorized_keys", mode: 0o600, content: s.PublicKey + "\n"},
		{path: "home/admin/.ssh/", mode: 0o700, owner: adminUID},
		{path: "home/admin/.ssh/authorized_keys", mode: 0o600, owner: adminUID, content: s.PublicKey + "\n"},
		{path: "etc/ssh/ssh_host_ed25519_key", mode: 0o600, content: hostPrivate},
		{path: "etc/ssh/ssh_host_ed25519_key.pub", mode: 0o644, content: hostPublic + "\n"},
		{path: "installer/age-key.sha256", mode: 0o600, content: hex.EncodeToString(sum[:]) + "  -\n"},
		{path: "installer/secrets/", mode: 0o700},
		{path: "installer/secrets/ssh-public-key", mode: 0o600, content: s.PublicKey + "\n"},
		{path: "installer/secrets/gateway-token", mode: 0o600, content: "a token\n"},
	}
	for place, script := range o.knobs {
		files = append(files, file{path: "knobs/" + place, mode: 0o600, content: script + "\n"})
	}
	return files
}

// create makes the container. It restarts by itself: its systems reboot.
func (s *Server) create(image string, o options) {
	s.t.Helper()
	subnet := netip.MustParsePrefix(run(s.t, limit, "docker", "network", "inspect",
		"--format", "{{(index .IPAM.Config 0).Subnet}}", "vps-e2e"))
	bytes := subnet.Addr().As4()
	bytes[2], bytes[3] = byte(1+rand.IntN(254)), byte(1+rand.IntN(254))
	s.address = netip.AddrFrom4(bytes)
	argv := []string{"docker", "create",
		"--label", "vps-e2e", "--label", "vps-e2e.run=" + os.Getenv("VPS_E2E_RUN"),
		"--restart", "always",
		"--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_BOOT",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--cgroupns", "private",
		"--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",
		"--volume", "/disk",
		"--network", "vps-e2e", "--ip", s.address.String()}
	for _, host := range o.hosts {
		argv = append(argv, "--add-host", host)
	}
	s.container = run(s.t, limit, append(argv, image)...)
	s.t.Cleanup(s.remove)
	out, err := pipe(limit, archive(s.t, s.files(o)), "docker", "cp", "--archive", "-", s.container+":/")
	require.NoError(s.t, err, out)
}

func (s *Server) remove() {
	if s.t.Failed() {
		console, _ := try(limit, "docker", "logs", "--tail", "30", s.container)
		journal, _ := s.Try("journalctl --no-pager --lines 60 --output short-monotonic")
		s.t.Logf("console of %s:\n%s\njournal:\n%s", s.address, console, journal)
	}
	_, err := try(limit, "docker", "rm", "--force", "--volumes", s.container)
	assert.NoError(s.t, err)
}

// Address is where the server is reached, in all its lives.
func (s *Server) Address() netip.Addr { return s.address }

// Network is the engine's network from which containers reach it.
func (s *Server) Network() string { return "vps-e2e" }

// Exec runs a bash script as root on the server, past SSH and the network.
func (s *Server) Exec(script string) string {
	s.t.Helper()
	out, err := s.Try(script)
	require.NoError(s.t, err, "%s\n%s", script, out)
	return out
}

// Try is Exec for scripts that may fail; the text is then stderr, too.
func (s *Server) Try(script string) (string, error) {
	return try(limit, "docker", "exec", "--env", "HOME=/root",
		"--env", "PATH=/run/current-system/sw/bin:/usr/bin:/usr/sbin",
		s.container, "/bin/bash", "-c", script)
}

// Await waits until a script succeeds on the server.
func (s *Server) Await(script string, limit time.Duration) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		_, err := s.Try(script)
		return err == nil
	}, limit, 100*time.Millisecond, "on the server this never came true: %s", script)
}

// Life says what runs on it now: "debian", "installer" or "nixos".
func (s *Server) Life() string {
	s.t.Helper()
	return s.Exec(`. /etc/os-release; [ "${VARIANT_ID-}" = installer ] && echo installer || echo "$ID"`)
}
