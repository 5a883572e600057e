package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

const strangersKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUd1sKvLbiMvBZKD5c9QHVcGIbEABMh1ZaMRJ3LxRPi our new colleague"

// merge changes secrets as somebody on another machine does, so that nothing is
// confirmed here.
func (r *rotator) merge(name, value string) {
	r.t.Helper()
	there := r.t.TempDir()
	for _, file := range []string{secretsPath, ".sops.yaml"} {
		data, err := os.ReadFile(filepath.Join(r.Dir, file))
		require.NoError(r.t, err)
		require.NoError(r.t, os.MkdirAll(filepath.Dir(filepath.Join(there, file)), 0o755))
		require.NoError(r.t, os.WriteFile(filepath.Join(there, file), data, 0o644))
	}
	_, err := secrets.Set(r.t.Context(), there, r.keys(), name, value)
	require.NoError(r.t, err)
	data, err := os.ReadFile(filepath.Join(there, secretsPath))
	require.NoError(r.t, err)
	require.NoError(r.t, os.WriteFile(filepath.Join(r.Dir, secretsPath), data, 0o644))
}

// The attack: a merged secrets.yaml with one more login key passed every check, and
// update deployed it without a word.
func TestAMergedLoginKeyIsAskedAboutOnce(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one", "two")
	for _, host := range r.order {
		r.mustUpdate(host)
	}
	own, err := secrets.Get(r.Dir, r.keys(), "ssh-public-key")
	require.NoError(t, err)
	before := r.servers["one"].ReadFile("etc/nixos/secrets/secrets.yaml")
	r.merge("ssh-public-key", own+"\n"+strangersKey+"\n")

	_, err = r.Update(t.Context(), "one", quick())

	var declined *trust.DeclinedError
	require.ErrorAs(t, err, &declined)
	assert.ErrorContains(t, err, `our new colleague`)
	assert.ErrorContains(t, err, "SHA256:")
	assert.NotContains(t, err.Error(), own)
	assert.Contains(t, next.Of(err).String(), "mage update one -yes")
	assert.Contains(t, r.story.String(), "secrets/secrets.yaml: changed ssh-public-key")
	assert.Equal(t, before, r.servers["one"].ReadFile("etc/nixos/secrets/secrets.yaml"))

	o := quick()
	o.Yes = true
	_, err = r.Update(t.Context(), "one", o)
	require.NoError(t, err)
	_, err = r.Update(t.Context(), "two", quick())
	require.NoError(t, err, "what was confirmed is not asked about again")
}

func TestUpdateNamesTheSecretsThatChange(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one")
	r.mustUpdate("one")
	r.merge("gateway-token", "hunter2")

	changes, err := r.SecretChanges(t.Context(), "one")
	require.NoError(t, err)
	require.Len(t, changes, 1)
	assert.Equal(t, []string{"gateway-token"}, changes[0].Changed)

	r.mustUpdate("one")
	assert.Contains(t, r.story.String(), "secrets/secrets.yaml: changed gateway-token")
	assert.NotContains(t, r.story.String(), "hunter2")
	assert.Equal(t, 1, strings.Count(r.story.String(), "login key"), "at the first deploy")
}

// A record that came with the repository would confirm whatever its author likes.
func TestARecordFromTheRepositoryConfirmsNothing(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one")
	r.mustUpdate("one")
	own, err := secrets.Get(r.Dir, r.keys(), "ssh-public-key")
	require.NoError(t, err)
	r.merge("ssh-public-key", own+"\n"+strangersKey+"\n")
	record := filepath.Join(r.Dir, ".vps", "trust.json")
	require.NoError(t, os.Remove(record))
	require.NoError(t, os.WriteFile(record, []byte(`{"loginKeys":[]}`), 0o644)) // as git writes files
	_, err = r.Update(t.Context(), "one", quick())
	require.ErrorContains(t, err, "it is not from this machine")
}

// The attack: a merged change of hostKey in vps.yaml leads to a stranger's server,
// against a line of known_hosts that a person made.
func TestAPinAgainstKnownHostsIsAskedAbout(t *testing.T) {
	t.Parallel()
	r := newRotator(t, "one")
	h := r.hosts["one"]
	known := filepath.Join(r.Dir, ".ssh", "known_hosts")
	require.NoError(t, os.MkdirAll(filepath.Dir(known), 0o700))
	h.KnownHosts = []string{known}
	r.hosts["one"] = h
	require.NoError(t, os.WriteFile(known, []byte(fmt.Sprintf("[%s]:%d %s\n", h.Address, h.Port, strangersKey)), 0o600))

	_, err := r.Update(t.Context(), "one", quick())

	var declined *trust.DeclinedError
	require.ErrorAs(t, err, &declined)
	assert.ErrorContains(t, err, known+":1 has ssh-ed25519 SHA256:")
	assert.Contains(t, next.Of(err).String(), "remove the line of known_hosts")
	assert.Empty(t, r.servers["one"].ReadFile("var/lib/vps/record"), "no connection was made")

	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(h.HostKey))
	require.NoError(t, err)
	require.NoError(t, trust.Change(t.Context(), r.Dir, func(record *trust.Record) {
		record.Confirm("one", trust.Host{Address: h.Addr(), HostKey: ssh.FingerprintSHA256(key)})
	}))
	r.mustUpdate("one") // what was confirmed once is not asked about again
}

// With -yes nobody looks at the address: a server that is not the one that got the
// key before is wiped only if its host key is named.
func TestBootstrapOfAnotherServerThanBeforeNeedsItsHostKey(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "exit 1")
	h := c.hosts["web"]
	h.HostKey = c.server.HostKeyLine() // as somebody merged it
	c.hosts["web"] = h
	fingerprint := c.o.HostKey
	c.o.HostKey = ""
	require.NoError(t, trust.Change(t.Context(), c.Dir, func(record *trust.Record) {
		record.Confirm("web", trust.Host{Address: "203.0.113.1:2222", HostKey: "SHA256:before"})
	}))
	_, err := c.Bootstrap(t.Context(), "web", c.o)
	require.ErrorContains(t, err, "it is not the server that got the age key")
	assert.ErrorContains(t, err, "203.0.113.1:2222 with host key SHA256:before")
	assert.Contains(t, next.Of(err).String(), "-hostkey="+fingerprint)
}
