package e2e_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/dagadbm/vps/mage/internal/e2e"
)

// fail2ban with the settings of nix/ bans whoever tries keys for users that exist,
// and nobody who only waits: a laptop asks for the port, or for the host key, until
// the server is back, and its agent may offer many keys before the right one. In
// the filter's normal mode none of the first counted, in its aggressive mode all of
// the second.
func TestFail2banCountsFailedLoginsAndNothingElse(t *testing.T) {
	t.Parallel()
	b := startFail2ban(t)
	wrong := newSigners(t, 6)
	good := b.goodKey()
	// Of an address that was banned before, fail2ban counts each failure more than once.
	b.server.Exec("fail2ban-client set sshd maxretry 1000")
	for _, c := range []struct {
		name   string
		do     func()
		counts int
	}{
		{"a wrong key for root", func() { b.refused("root", wrong[0]) }, 1},
		{"a wrong key for another user", func() { b.refused("openclaw", wrong[0]) }, 1},
		{"no key for root", func() { b.refused("root") }, 1},
		{"no key for another user", func() { b.refused("openclaw") }, 1},
		{"a user that does not exist", func() { b.refused("nobody-here", wrong[0]) }, 1},
		{"four wrong keys of an agent count once", func() { b.refused("root", wrong[:4]...) }, 1},
		{"six, where sshd ends it, as well", func() { b.refused("root", wrong...) }, 1},
		{"a login", func() { b.letIn(good) }, 0},
		{"a login with the last key of an agent", func() { b.letIn(append(wrong[:4:4], good)...) }, 0},
		{"asking for the port", b.knock, 0},
		{"reading the banner", b.readBanner, 0},
		{"asking for the host key", b.askHostKey, 0},
	} {
		before := b.counted()
		c.do()
		assert.Equal(t, c.counts, b.counted()-before, c.name)
	}
}

func TestFail2banBansAfterFiveFailedLogins(t *testing.T) {
	t.Parallel()
	b := startFail2ban(t)
	wrong := newSigners(t, 1)[0]
	for range 60 {
		b.knock()
		b.askHostKey()
	}
	for range 4 {
		b.refused("root", wrong)
	}
	b.fence()
	assert.Empty(t, b.banned(), "four failed logins, and a laptop that has waited for long")
	b.refused("openclaw", wrong)
	b.server.Await("fail2ban-client status sshd | grep -q 'Currently banned:.*1'", time.Minute)
	assert.NotEmpty(t, b.banned())
}

// A new system that lets nobody in: the client asks until the watchdog has rolled
// back, and is still welcome.
func TestFail2banDoesNotBanTheLaptopThatWaits(t *testing.T) {
	t.Parallel()
	b := startFail2ban(t)
	l := newLaptop(t, b.server)
	l.mustUpdate()
	b.fence()
	before := b.counted()
	bad := openLaptop(t, b.server.Project())
	bad.files.Set("sshEnable", false)
	_, err := bad.update(brisk())
	require.Error(t, err)
	assert.Equal(t, before, b.counted(), "%s", bad.story)
	assert.Empty(t, b.banned())
}

// banisher is a server with fail2ban, and a second sshd that does not make its
// own mind up about addresses (PerSourcePenalties), so that all that is tried
// arrives.
type banisher struct {
	t      *testing.T
	server *e2e.Server
	fences int
}

const testedPort = 2223

func startFail2ban(t *testing.T) *banisher {
	t.Helper()
	s := e2e.Start(t)
	config := nixFail2ban(t, s)
	s.Exec(fmt.Sprintf(`
rm -f /etc/fail2ban/jail.d/*
cat >/etc/fail2ban/jail.local <<'END'
%sEND
cat >/etc/fail2ban/filter.d/sshd.local <<'END'
%sEND
systemd-run --quiet --unit=tried-sshd /usr/sbin/sshd -D -f /run/current-system/etc/ssh/sshd_config \
    -o Port=%d -o PerSourcePenalties=no -o LogLevel=VERBOSE
systemctl start fail2ban
`, config.jail, config.filter, testedPort))
	s.Await("fail2ban-client status sshd", time.Minute)
	s.Await(fmt.Sprintf("ss -tln | grep -q :%d", testedPort), time.Minute)
	return &banisher{t: t, server: s}
}

type fail2banConfig struct{ jail, filter string }

// nixFail2ban asks Nix for the settings of security.nix, and writes them as NixOS
// does; a ban has no action here but to be counted.
func nixFail2ban(t *testing.T, s *e2e.Server) fail2banConfig {
	t.Helper()
	module, err := os.ReadFile("../../../nix/modules/security.nix")
	require.NoError(t, err)
	out := s.Exec(`
cat >/tmp/security.nix <<'END_OF_MODULE'
` + string(module) + `END_OF_MODULE
nix-instantiate --eval --strict --json --expr '
let
  lib = { mkOption = o: o; mkIf = c: v: v; types = { }; };
  module = import /tmp/security.nix { config = { }; inherit lib; flakeOutput = ""; nixpkgsUrl = ""; };
in {
  settings = module.config.services.fail2ban;
  filter = module.config.environment.etc."fail2ban/filter.d/sshd.local".text;
}'`)
	var c struct {
		Filter   string `json:"filter"`
		Settings struct {
			Enable    bool   `json:"enable"`
			MaxRetry  int    `json:"maxretry"`
			BanTime   string `json:"bantime"`
			Increment struct {
				Enable  bool   `json:"enable"`
				MaxTime string `json:"maxtime"`
			} `json:"bantime-increment"`
		} `json:"settings"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &c))
	require.True(t, c.Settings.Enable)
	require.Equal(t, 5, c.Settings.MaxRetry)
	return fail2banConfig{filter: c.Filter, jail: fmt.Sprintf(`[DEFAULT]
backend = systemd
maxretry = %d
bantime = %s
bantime.increment = %t
bantime.maxtime = %s
[sshd]
enabled = true
action =
`, c.Settings.MaxRetry, c.Settings.BanTime, c.Settings.Increment.Enable, c.Settings.Increment.MaxTime)}
}

func (b *banisher) address() string {
	return netip.AddrPortFrom(b.server.Address(), testedPort).String()
}

// goodKey is the key that the server lets in.
func (b *banisher) goodKey() ssh.Signer {
	b.t.Helper()
	text, err := os.ReadFile(b.server.KeyFile())
	require.NoError(b.t, err)
	signer, err := ssh.ParsePrivateKey(text)
	require.NoError(b.t, err)
	return signer
}

func newSigners(t *testing.T, n int) []ssh.Signer {
	t.Helper()
	signers := make([]ssh.Signer, n)
	for i := range signers {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		signers[i], err = ssh.NewSignerFromKey(private)
		require.NoError(t, err)
	}
	return signers
}

func (b *banisher) login(user string, keys ...ssh.Signer) (*ssh.Client, error) {
	return ssh.Dial("tcp", b.address(), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(keys...)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second, // a server of this test
	})
}

func (b *banisher) refused(user string, keys ...ssh.Signer) {
	b.t.Helper()
	_, err := b.login(user, keys...)
	require.Error(b.t, err)
}

func (b *banisher) letIn(keys ...ssh.Signer) {
	b.t.Helper()
	client, err := b.login("root", keys...)
	require.NoError(b.t, err)
	require.NoError(b.t, client.Close())
}

// knock opens a connection and closes it.
func (b *banisher) knock() {
	b.t.Helper()
	conn, err := net.DialTimeout("tcp", b.address(), 20*time.Second)
	require.NoError(b.t, err)
	require.NoError(b.t, conn.Close())
}

func (b *banisher) readBanner() {
	b.t.Helper()
	conn, err := net.DialTimeout("tcp", b.address(), 20*time.Second)
	require.NoError(b.t, err)
	_, err = conn.Read(make([]byte, 8))
	require.NoError(b.t, err)
	require.NoError(b.t, conn.Close())
}

// askHostKey goes as far as the server's key, and no further.
func (b *banisher) askHostKey() {
	b.t.Helper()
	seen := errors.New("seen")
	_, err := ssh.Dial("tcp", b.address(), &ssh.ClientConfig{
		User: "root", Timeout: 20 * time.Second,
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return seen },
	})
	require.ErrorIs(b.t, err, seen)
}

var totalFailed = regexp.MustCompile(`Total failed:\s+(\d+)`)

// counted is how many failures fail2ban has counted, less those of the fences.
func (b *banisher) counted() int {
	b.t.Helper()
	b.fence()
	return b.total() - b.fences
}

func (b *banisher) total() int {
	b.t.Helper()
	found := totalFailed.FindStringSubmatch(b.server.Exec("fail2ban-client status sshd"))
	require.Len(b.t, found, 2)
	n, err := strconv.Atoi(found[1])
	require.NoError(b.t, err)
	return n
}

// fence waits until all connections are over and fail2ban has read all that sshd
// wrote of them: it reads in order, and sees this line, of an address of the
// documentation, after all others.
func (b *banisher) fence() {
	b.t.Helper()
	b.server.Await("! pgrep sshd-", time.Minute) // sshd-session and sshd-auth, of each connection
	b.fences++
	from := fmt.Sprintf("192.0.2.%d", b.fences)
	// A shell by the name of sshd, because fail2ban reads what programs of that
	// name say, and alive for long enough for the journal to look its name up.
	b.server.Exec(fmt.Sprintf(`mkdir -p /var/lib/fence && cp /bin/bash /var/lib/fence/sshd
systemd-run --quiet --wait --property=SyslogIdentifier=sshd /var/lib/fence/sshd -c \
    'echo "Invalid user fence from %s port 1"; until grep -q "Found %s" /var/log/fail2ban.log; do sleep 0.1; done'`, from, from))
}

func (b *banisher) banned() string {
	b.t.Helper()
	return b.server.Exec("fail2ban-client get sshd banip")
}
