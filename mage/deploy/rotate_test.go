package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// quiet answers nothing and keeps what it was told.
type quiet struct{ said *buffer }

func (q quiet) Interactive() bool { return false }
func (q quiet) Say(format string, args ...any) {
	_, _ = fmt.Fprintf(q.said, format+"\n", args...)
}
func (q quiet) Ask(context.Context, string) (string, error)       { return "", errors.New("asked") }
func (q quiet) AskHidden(context.Context, string) (string, error) { return "", errors.New("asked") }

// rotator is a project with a key of its own, which its servers have too.
type rotator struct {
	*fixture
	servers map[string]*vpstest.Server
	said    *buffer
}

func newRotator(t *testing.T, hosts ...string) *rotator {
	t.Helper()
	r := &rotator{fixture: newFixture(t), servers: map[string]*vpstest.Server{}, said: &buffer{}}
	r.allowExample = false
	key := filepath.Join(r.Dir, "login.pub")
	for i, host := range hosts {
		r.servers[host] = r.server(host)
		if i == 0 {
			private, err := os.ReadFile(r.servers[host].ClientKeyFile())
			require.NoError(t, err)
			signer, err := ssh.ParsePrivateKey(private)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(key, ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600))
		}
	}
	_, err := secrets.Init(t.Context(), r.Dir, secrets.InitOptions{
		Console: quiet{r.said}, SSHKey: key, Home: r.Dir, Getenv: noEnv,
		Declared: ourHosts()["vps-x86"].Secrets,
	})
	require.NoError(t, err)
	for _, host := range hosts {
		at := r.servers[host].Path("var/lib/sops-nix/key.txt")
		require.NoError(t, os.WriteFile(at, r.keys().KeyFile(), 0o600))
	}
	return r
}

func noEnv(string) string { return "" }

func (r *rotator) keys() *secrets.Identities {
	r.t.Helper()
	ids, err := secrets.Sources{Dir: r.Dir, Getenv: noEnv}.Load(r.t.Context())
	require.NoError(r.t, err)
	return ids
}

// collectGarbage leaves the newest generation only.
func (r *rotator) collectGarbage(host string) {
	r.t.Helper()
	s := r.servers[host]
	current, err := os.Readlink(s.Path("nix/var/nix/profiles/system"))
	require.NoError(r.t, err)
	links, err := filepath.Glob(s.Path("nix/var/nix/profiles/system-*-link"))
	require.NoError(r.t, err)
	for _, link := range links {
		if filepath.Base(link) != filepath.Base(current) {
			require.NoError(r.t, os.Remove(link))
		}
	}
}

// rotate rotates; hosts nil is over SSH as the target does it.
func (r *rotator) rotate(hosts secrets.RotateHosts) error {
	if hosts == nil {
		hosts = r.RotateHosts(r.t.Context(), quick())
	}
	var accept []string
	for _, s := range r.servers {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKeyLine()))
		require.NoError(r.t, err)
		accept = append(accept, ssh.FingerprintSHA256(key))
	}
	return secrets.Rotate(r.t.Context(), r.Dir, secrets.RotateOptions{
		Console: quiet{r.said}, Hosts: r.order, Remote: hosts, Getenv: noEnv, Accept: accept,
	})
}

// mustFinish rotates until nothing is left to do and looks at the end.
func (r *rotator) mustFinish() {
	r.t.Helper()
	require.NoError(r.t, r.rotate(nil), "%s", r.said)
	for _, host := range r.order {
		r.collectGarbage(host)
	}
	require.NoError(r.t, r.rotate(nil), "%s", r.said)
	r.finished()
}

func (r *rotator) finished() {
	r.t.Helper()
	ids := r.keys()
	assert.Equal(r.t, 1, ids.Len())
	assert.NoFileExists(r.t, secrets.Project{Dir: r.Dir}.RotationFile())
	sealed, err := os.ReadFile(filepath.Join(r.Dir, secretsPath))
	require.NoError(r.t, err)
	for host, s := range r.servers {
		assert.Equal(r.t, string(ids.KeyFile()), s.ReadFile("var/lib/sops-nix/key.txt"), host)
		assert.Equal(r.t, string(sealed), s.ReadFile("etc/nixos/secrets/secrets.yaml"), host)
		r.nobodyLockedOut(host)
	}
}

// nobodyLockedOut: each tree that the server keeps for a generation, and the
// present one, decrypts with the keys that the server has.
func (r *rotator) nobodyLockedOut(host string) {
	r.t.Helper()
	s := r.servers[host]
	ids, err := secrets.ParseIdentities([]byte(s.ReadFile("var/lib/sops-nix/key.txt")))
	require.NoError(r.t, err)
	list, err := (&rotateHosts{p: r.Project, kept: facts.LoadKept(r.Dir)}).generations(r.t.Context(), host)
	require.NoError(r.t, err)
	for _, digest := range list {
		data := s.ReadFile(filepath.Join("var/lib/vps/trees", digest, secretsPath))
		_, err := secrets.VerifyBytes([]byte(data), ids)
		assert.NoError(r.t, err, "%s, tree %s", host, digest)
	}
	if data := s.ReadFile("etc/nixos/secrets/secrets.yaml"); data != "" {
		_, err = secrets.VerifyBytes([]byte(data), ids)
		assert.NoError(r.t, err, host)
	}
}

// generations lists the digests of the trees that generations can go back to.
func (r *rotateHosts) generations(ctx context.Context, host string) (digests []string, err error) {
	err = r.on(ctx, host, func(l *link) error {
		list, err := l.generations(ctx)
		for _, g := range list {
			if g.Tree {
				digests = append(digests, g.Record.Digest)
			}
		}
		return err
	})
	return digests, err
}

func TestRotateReplacesTheKeyOnAllServers(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one", "two")
	old := r.keys()
	r.mustUpdate("one") // two has never been deployed to: its first tree is not known

	require.NoError(t, r.rotate(nil), "%s", r.said)

	assert.Contains(t, r.said.String(), "the old key stays until")
	for host, s := range r.servers {
		ids, err := secrets.ParseIdentities([]byte(s.ReadFile("var/lib/sops-nix/key.txt")))
		require.NoError(t, err)
		assert.Equal(t, 2, ids.Len(), "%s keeps a generation that needs the old key", host)
		_, err = secrets.VerifyBytes([]byte(s.ReadFile("etc/nixos/secrets/secrets.yaml")), old)
		require.ErrorIs(t, err, secrets.ErrWrongKey, "the old key opens nothing new")
		r.nobodyLockedOut(host)
		r.collectGarbage(host)
	}
	require.NoError(t, r.rotate(nil), "%s", r.said)
	r.finished()
	assert.NotEqual(t, old.Hashes(), r.keys().Hashes())
	assert.Contains(t, r.said.String(), "git's history")
	assert.NotContains(t, r.said.String()+r.story.String(), "AGE-SECRET-KEY", "no log shows a key")
}

func TestRotateNamesAHostThatIsAwayAndFinishesLater(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one", "two")
	away := r.hosts["two"]
	gone := away
	gone.Port = freePort(t)
	r.hosts["two"] = gone

	err := r.rotate(nil)

	require.ErrorContains(t, err, "two: looking who answers there: connecting to two")
	assert.Equal(t, int(CodeUnreachable), ExitStatus(err))
	assert.Equal(t, 2, r.keys().Len())
	r.nobodyLockedOut("one")

	r.hosts["two"] = away
	r.nobodyLockedOut("two")
	r.mustFinish()
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Every call of a rotation is cut off once, wherever that leaves it, and the next
// rotation goes on from there.
func TestRotateIsResumedAfterEachStep(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one")
	c := &cutting{RotateHosts: r.RotateHosts(t.Context(), quick()), known: map[string]bool{}}
	collected := false
	for cuts := 0; ; cuts++ {
		require.Less(t, cuts, 30)
		err := r.rotate(c)
		r.nobodyLockedOut("one")
		if err == nil && !collected { // all that is left waits for old generations to go
			r.collectGarbage("one")
			collected = true
			continue
		}
		if err == nil {
			break
		}
		require.ErrorIs(t, err, errCut, "%s", r.said)
	}
	r.finished()
	for _, call := range []string{"put 0 0", "look 1 0", "deploy 1 0", "look 1 1", "deploy 1 1", "needed 1 2", "put 1 2", "look 2 2"} {
		assert.Contains(t, c.known, call)
	}
}

// cutting lets each call happen and loses its first answer: the worst of
// interruptions.
type cutting struct {
	secrets.RotateHosts
	puts, deploys int
	known         map[string]bool // calls that were cut, with what was done before
}

var errCut = errors.New("the answer was lost")

func (c *cutting) lost(call string, err error) error {
	call = fmt.Sprint(call, " ", c.puts, " ", c.deploys)
	if !c.known[call] {
		c.known[call] = true
		return errors.Join(err, errCut)
	}
	return err
}

func (c *cutting) PutIdentities(ctx context.Context, host string, seen secrets.HostSeen, keys []byte, keep ...string) error {
	err := c.lost("put", c.RotateHosts.PutIdentities(ctx, host, seen, keys, keep...))
	c.puts++
	return err
}

func (c *cutting) Look(ctx context.Context, host string) (secrets.HostSeen, error) {
	seen, err := c.RotateHosts.Look(ctx, host)
	return seen, c.lost("look", err)
}

func (c *cutting) Deploy(ctx context.Context, host string) error {
	err := c.RotateHosts.Deploy(ctx, host)
	if lost := c.lost("deploy", err); lost != nil {
		return lost
	}
	c.deploys++
	return nil
}

func (c *cutting) OldStillNeeded(ctx context.Context, host string, old []string, recipient string) (bool, error) {
	needed, err := c.RotateHosts.OldStillNeeded(ctx, host, old, recipient)
	return needed, c.lost("needed", err)
}

// The attack: a merged change of address and hostKey in vps.yaml made update refuse
// and advise a rotation, which then put both private keys on the stranger's server.
func TestRotateGivesNoKeyToAStrangersServer(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one", "two")
	accept := r.rotate
	require.NoError(t, accept(nil), "%s", r.said) // both are known from now on
	for _, host := range r.order {
		r.collectGarbage(host)
	}
	require.NoError(t, accept(nil), "%s", r.said)
	before := r.keys()

	stranger := newFixture(t)
	strange := stranger.server("two")
	require.NoError(t, os.Remove(strange.Path("var/lib/sops-nix/key.txt")))
	r.hosts["two"] = stranger.hosts["two"]
	err := r.rotate(nil)

	require.ErrorContains(t, err, "CHANGED: the address was")
	require.ErrorContains(t, err, "does NOT have the present key")
	assert.Contains(t, next.Of(err).String(), "-yes=SHA256:")
	assert.NoFileExists(t, strange.Path("var/lib/sops-nix/key.txt"))
	assert.Equal(t, before.Hashes(), r.keys().Hashes(), "nothing was begun")
}

// A server that takes another's place after it was confirmed gets no key either.
func TestRotateIsBoundToTheServerThatWasConfirmed(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one")
	hosts := r.RotateHosts(t.Context(), quick())
	seen, err := hosts.Look(t.Context(), "one")
	require.NoError(t, err)
	before := r.servers["one"].ReadFile("var/lib/sops-nix/key.txt")
	for _, other := range []secrets.HostSeen{{Address: seen.Address, HostKey: "SHA256:other"}, {Address: "192.0.2.1:22", HostKey: seen.HostKey}} {
		require.ErrorContains(t, hosts.PutIdentities(t.Context(), "one", other, []byte("x")), "was confirmed")
	}
	assert.Equal(t, before, r.servers["one"].ReadFile("var/lib/sops-nix/key.txt"))
}
