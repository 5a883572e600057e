package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/e2e/fresh"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// transcript is what a person would have read.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// rented is a server that somebody just rented, and the laptop that it is to be
// installed from.
type rented struct {
	t       *testing.T
	server  *fresh.Server
	project *e2e.Project
	home    string // of the person
	tmp     string // where programs put what they need for a moment
	name    string // of the host

	// What vps.yaml says.
	address, user, key string
	engine             string
	network            string // in which the container reaches the server by itself
	image              string
	host, install      string // further lines

	env    []string // on top of this machine's own
	before map[string]string
	story  *transcript
}

func rent(t *testing.T, opts ...fresh.Option) *rented {
	t.Helper()
	e2e.Require(t, "docker", "debootstrap", "sops")
	s := fresh.Start(t, opts...)
	r := &rented{t: t, server: s, project: fresh.NewProject(t), image: fresh.NixImage(t), home: t.TempDir(), tmp: t.TempDir(),
		address: s.Address().String(), user: "root", key: s.KeyFile, engine: "docker", network: s.Network(), story: &transcript{}}
	if engine := os.Getenv("VPS_E2E_ENGINE"); engine != "" && engine != r.engine {
		r.otherEngine(engine)
	}
	r.name = "web-" + strings.ReplaceAll(s.Address().String(), ".", "-")
	r.secrets()
	r.config()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.story.String())
		}
	})
	return r
}

// otherEngine gives the image to another engine, whose containers do not see the
// servers' network but ours.
func (r *rented) otherEngine(engine string) {
	t := r.t
	t.Helper()
	image := r.image
	r.engine, r.network, r.image = engine, "host", "localhost/"+image
	script := func(script string) {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Env = append(os.Environ(), "ENGINE="+engine, "FROM="+image, "IMAGE="+r.image, "VOLUME="+container.VolumeName(r.image))
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
	script("docker save $FROM | $ENGINE load")
	t.Cleanup(func() { script("$ENGINE volume rm --force $VOLUME && $ENGINE image rm $IMAGE") })
}

// secrets fills the project's secrets, with the real sops.
func (r *rented) secrets() {
	r.t.Helper()
	r.project.Secrets(r.server.AgeIdentity, r.server.AgeRecipient)
	cmd := exec.CommandContext(r.t.Context(), "sops", "set", "secrets/secrets.yaml", `["ssh-public-key"]`, fmt.Sprintf("%q", r.server.PublicKey))
	cmd.Dir = r.project.Dir
	cmd.Env = append(os.Environ(), "SOPS_AGE_KEY_FILE="+filepath.Join(r.project.Dir, "secrets/age-key.txt"))
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "%s", out)
	// The sops program confirms nothing; secrets:set would.
	require.NoError(r.t, trust.Change(r.t.Context(), r.project.Dir, func(record *trust.Record) {
		record.LoginKeys = append(record.LoginKeys, fingerprintOf(r.t, r.server.PublicKey))
	}))
}

// config writes vps.yaml, and remembers what is on the laptop from then on.
func (r *rented) config() {
	r.t.Helper()
	network := ""
	if r.network != "" {
		network = "  network: " + r.network + "\n"
	}
	r.project.Write("vps.yaml", fmt.Sprintf("# ours\nhosts:\n  %s:\n    address: %s\n    port: 2222\n    user: %s\n    identity: %s\n    flake: %s\n%sinstall:\n  image: %s\n  engine: %s\n%s%s",
		r.name, r.address, r.user, r.key, e2e.Output(), r.host, r.image, r.engine, network, r.install))
	r.before = r.files()
}

// deadline overrides how long a phase may take.
func (r *rented) deadline(phase string, d time.Duration) {
	r.install += fmt.Sprintf("  deadlines:\n    %s: %s\n", phase, d)
	r.config()
}

// files is all that is on the laptop, and a hash of each file.
func (r *rented) files() map[string]string {
	r.t.Helper()
	all := map[string]string{}
	for _, dir := range []string{r.project.Dir, r.home, r.tmp} {
		require.NoError(r.t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			all[path] = fmt.Sprintf("%x", sha256.Sum256(text))
			return err
		}))
	}
	return all
}

// modes of what the installer laid down: its tar puts those of the folders on
// the way onto the new system's.
const modes = `755 root /etc
755 root /etc/ssh
600 root /etc/ssh/ssh_host_ed25519_key
644 root /etc/ssh/ssh_host_ed25519_key.pub
755 root /var
755 root /var/lib
700 root /var/lib/sops-nix
600 root /var/lib/sops-nix/key.txt`

// assertOurs checks all that bootstrap promises of a server, and its summary.
func (r *rented) assertOurs(end said) {
	t := r.t
	t.Helper()
	require.Equal(t, 0, end.code, "%s", end.stderr)
	assert.Equal(t, "nixos", r.server.Life())
	r.assertNothingLeft()
	var paths []string
	for line := range strings.Lines(modes) {
		paths = append(paths, strings.Fields(line)[2])
	}
	assert.Equal(t, modes, r.server.Exec("stat -c '%a %U %n' "+strings.Join(paths, " ")))
	assert.Equal(t, r.server.AgeIdentity, r.server.Exec("cat /var/lib/sops-nix/key.txt"))
	r.server.Exec("! test -e /old-data")
	assert.NotEmpty(t, r.server.Exec("ls /nix/store/.links"), "the store was not optimised")
	assert.Equal(t, "false", r.server.Exec("nix config show auto-optimise-store"), "the control: the server does not do it by itself")

	public := r.server.Exec("cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub")
	yaml, err := os.ReadFile(filepath.Join(r.project.Dir, "vps.yaml"))
	require.NoError(t, err)
	assert.Contains(t, string(yaml), "    hostKey: "+public+"\n")
	assert.Contains(t, string(yaml), "# ours")
	r.assertSummary(end, public)
	r.assertStatus()
}

// assertSummary: the host, its generation, how to log in and how to undo. The
// command that logs in does.
func (r *rented) assertSummary(end said, hostKey string) {
	t := r.t
	t.Helper()
	rows := map[string]string{}
	for line := range strings.Lines(escapes.ReplaceAllString(end.stdout, "")) {
		if m := summaryRow.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			rows[m[1]] = m[2]
		}
	}
	assert.Equal(t, r.name, rows["host"])
	assert.Equal(t, "NixOS "+e2e.Output()+", generation 1", rows["system"])
	assert.Contains(t, rows["host key"], fingerprintOf(t, hostKey)+", pinned in ")
	assert.Contains(t, rows["undo"], " bootstrap "+r.name)
	assert.Contains(t, rows["undo"], " rollback "+r.name)
	login := strings.Fields(rows["log in"])
	require.NotEmpty(t, login, "%s", end.stdout)
	if r.address != r.server.Address().String() {
		return // through a jump host that this machine's ssh does not know
	}
	known := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(known, fmt.Appendf(nil, "[%s]:2222 %s\n", r.address, hostKey), 0o600))
	ssh := exec.CommandContext(t.Context(), login[0], append([]string{"-F", "none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=" + known},
		append(login[1:], "echo in")...)...)
	ssh.Env = append(os.Environ(), r.env...)
	out, err := ssh.Output()
	require.NoError(t, err)
	assert.Equal(t, "in\n", string(out))
}

// escapes are what a terminal gets between the lines.
var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

var summaryRow = regexp.MustCompile(`^(host|system|log in|host key|look|undo|log)  +(.*)$`)

func (r *rented) assertStatus() {
	r.t.Helper()
	end := r.mage("status", r.name, "-json")
	require.Equal(r.t, 0, end.code)
	var status []struct {
		Generation int
		State      string
	}
	require.NoError(r.t, json.Unmarshal([]byte(end.stdout), &status))
	require.Len(r.t, status, 1)
	assert.Equal(r.t, 1, status[0].Generation)
	assert.Equal(r.t, "as committed", status[0].State)
}

// assertNothingLeft: no key that lets somebody in, no container, and nothing on
// the laptop outside .vps/ but the pinned key.
func (r *rented) assertNothingLeft() {
	t := r.t
	t.Helper()
	r.assertNobodyElseGetsIn()
	goes := filepath.Join(r.home, ".config/go") // where Go itself counts how often it is called
	for path, hash := range r.files() {
		if r.before[path] == hash || strings.HasPrefix(path, goes) {
			continue
		}
		place, err := filepath.Rel(r.project.Dir, path)
		require.NoError(t, err)
		assert.True(t, place == "vps.yaml" || strings.HasPrefix(place, ".vps/"), "%s was made or changed", path)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.NotContains(t, string(text), "PRIVATE KEY", path)
		assert.NotContains(t, string(text), r.server.AgeIdentity, path)
	}
	assert.NotContains(t, r.story.String(), r.server.AgeIdentity)
	assert.NoFileExists(t, filepath.Join(r.project.Dir, ".vps/installs", r.name+".json"))
}

// assertNobodyElseGetsIn: neither a throw-away key nor a container is left.
func (r *rented) assertNobodyElseGetsIn() {
	r.t.Helper()
	out, _ := r.server.Try("grep -rl vps-install- /root /home /run/secrets-for-users /etc/ssh 2>/dev/null")
	assert.Empty(r.t, out, "a throw-away key is left")
	found, err := container.Engine{Program: r.engine}.FindByLabel(r.t.Context(), container.LabelHost, r.name)
	require.NoError(r.t, err)
	assert.Empty(r.t, found)
}

func fingerprintOf(t *testing.T, line string) string {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	require.NoError(t, err)
	return ssh.FingerprintSHA256(key)
}
