package e2e_test

import (
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/e2e/fresh"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// One command in a fresh clone, and a name that is typed: the server is ours. It
// is wiped again only when that is what is asked for; then the pinned key vouches
// for it, and a new one is made.
func TestE2EBootstrapFromAFreshClone(t *testing.T) {
	t.Parallel()
	r := rent(t)
	r.project.Dir = cloned(t).dir
	r.secrets()
	r.config()

	first := r.typing(r.name, r.goTool("bootstrap", r.name))
	assert.Contains(t, first.stdout, "not known here", "the typed name accepts the host key, too")
	r.assertOurs(first)
	key := r.server.Exec("cat /etc/ssh/ssh_host_ed25519_key.pub")
	r.server.Exec("touch /root/mine")

	refused := r.mage("bootstrap", r.name)
	assert.Equal(t, 2, refused.code)
	assert.Contains(t, refused.stderr, "no terminal")
	r.server.Exec("test -e /root/mine")

	again := r.mage("bootstrap", r.name, "-yes")
	assert.Contains(t, again.stderr, "already ours, deployed by")
	r.server.Exec("! test -e /root/mine")
	r.assertOurs(again)
	assert.NotEqual(t, key, r.server.Exec("cat /etc/ssh/ssh_host_ed25519_key.pub"))
}

// goTool is a call of a target as a person makes it who has nothing but Go.
func (r *rented) goTool(args ...string) *exec.Cmd {
	r.t.Helper()
	cmd := r.target(args...)
	program, err := exec.LookPath("go")
	require.NoError(r.t, err)
	cmd.Path, cmd.Args = program, append([]string{"go", "tool", "mage"}, args...)
	out, err := exec.CommandContext(r.t.Context(), program, "env", "GOCACHE", "GOMODCACHE", "GOPATH").Output()
	require.NoError(r.t, err)
	// Where they are depends on the home, which is another's.
	places := strings.Split(strings.TrimSpace(string(out)), "\n")
	cmd.Env = append(cmd.Env, "GOCACHE="+places[0], "GOMODCACHE="+places[1], "GOPATH="+places[2], "GOTELEMETRY=off",
		"TMPDIR="+os.TempDir(), "MAGEFILE_CACHE="+cloned(r.t).cache)
	return cmd
}

// While the installer works, the engine, the process list and the disk of the
// laptop are open to others: none of them may hold a key.
func TestE2EBootstrapByAUserWithSudoShowsNobodyTheKey(t *testing.T) {
	t.Parallel()
	r := rent(t, fresh.WithKnob("nixos-install", "touch /run/reached; while [ ! -e /knobs/go ]; do sleep 0.1; done"))
	r.user = "admin"
	r.config()
	cmd := r.target(r.bootstrapping()...)
	ended := make(chan said, 1)
	go func() { ended <- r.end(cmd) }()
	r.server.Await("test -e /run/reached", 2*time.Minute)

	r.assertNoKeyToBeSeen()

	r.server.Exec("touch /knobs/go")
	end := <-ended
	assert.Contains(t, end.stdout, "admin@")
	r.assertOurs(end)
}

// assertNoKeyToBeSeen looks for the age key everywhere but where it must be, in
// which it is found by the same way of looking.
func (r *rented) assertNoKeyToBeSeen() {
	t := r.t
	t.Helper()
	found, err := container.Engine{Program: r.engine}.FindByLabel(t.Context(), container.LabelHost, r.name)
	require.NoError(t, err)
	require.Len(t, found, 1)
	for place, script := range map[string]string{
		"inspect":          "$ENGINE inspect $NAME",
		"process list":     "ps -eww -o args",
		"environments":     "cat /proc/[0-9]*/environ", // the container's processes are this machine's
		"container's disk": "$ENGINE export $NAME | tar -xO",
		"image":            "$ENGINE image inspect $IMAGE; $ENGINE history --no-trunc $IMAGE; $ENGINE save $IMAGE | tar -xO",
		"volume":           "$ENGINE run --rm --network none -v $VOLUME:/nix:ro --entrypoint /bin/sh $IMAGE -c 'tar -cO /nix 2>/dev/null'",
		"project":          "cat $DIR/.vps/*/* $DIR/vps.yaml $DIR/nix/*.nix",
		"the key itself":   "$ENGINE exec $NAME cat /extra-files/var/lib/sops-nix/key.txt",
	} {
		dir := t.TempDir()
		pattern, seen := filepath.Join(dir, "pattern"), filepath.Join(dir, "seen")
		require.NoError(t, os.WriteFile(pattern, []byte(r.server.AgeIdentity+"\n"), 0o600))
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "{ "+script+"; } 2>/dev/null >"+seen+"; grep -a -c -F -f "+pattern+" "+seen)
		cmd.Env = append(os.Environ(), "ENGINE="+r.engine, "NAME="+found[0].Name, "IMAGE="+r.image, "VOLUME="+container.VolumeName(r.image), "DIR="+r.project.Dir)
		lines, _ := cmd.Output() // grep calls nothing found a failure
		want := "0\n"
		if place == "the key itself" {
			want = "1\n"
		}
		assert.Equal(t, want, string(lines), "lines with the age key in: %s", place)
		info, err := os.Stat(seen)
		require.NoError(t, err)
		assert.Greater(t, info.Size(), int64(70), "%s: nothing was looked at", place)
		require.NoError(t, os.Remove(seen))
	}
}

// A key with a passphrase works through an agent, and never leaves it. The server
// is known to a jump host alone, so its container can come there through us only,
// which needs an engine on this machine.
func TestE2EBootstrapBehindAJumpHostWithAnAgent(t *testing.T) {
	t.Parallel()
	r := rent(t)
	jump := fresh.Start(t, fresh.WithNeighbour("behind.invalid", r.server))
	r.address, r.network = "behind.invalid", ""
	r.sealKey()
	known := filepath.Join(r.home, "known")
	require.NoError(t, os.WriteFile(known, fmt.Appendf(nil, "%s %s\n", jump.Address(), jump.HostKey), 0o600))
	config := filepath.Join(r.home, "ssh_config")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "Host gate\n  HostName %s\n  User root\n  IdentityFile %s\n  UserKnownHostsFile %s\nHost %s\n  ProxyJump gate\n",
		jump.Address(), jump.KeyFile, known, r.name), 0o600))
	r.env = append(r.env, "VPS_SSH_CONFIG="+config)
	r.config()
	_, err := net.DefaultResolver.LookupHost(t.Context(), r.address)
	require.Error(t, err, "the control: nobody here knows the way")

	path := r.wrapDocker(`[ "$1" != context ] || { echo ssh://elsewhere.example; exit; }`)
	r.env = append(r.env, "PATH="+path+":"+os.Getenv("PATH"))
	r.assertRefused(r.bootstrap(), 1, "runs its containers on another machine", "use an engine on this machine")

	r.env = append(r.env, "PATH="+os.Getenv("PATH"))
	r.assertOurs(r.bootstrap())
}

// sealKey puts the person's key into an agent, and gives the file a passphrase
// that nobody knows.
func (r *rented) sealKey() {
	t := r.t
	t.Helper()
	text, err := os.ReadFile(r.server.KeyFile)
	require.NoError(t, err)
	private, err := ssh.ParseRawPrivateKey(text)
	require.NoError(t, err)
	sealed, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(rand.Text()))
	require.NoError(t, err)
	r.key = filepath.Join(t.TempDir(), "id_ed25519")
	require.NoError(t, os.WriteFile(r.key, pem.EncodeToMemory(sealed), 0o600))
	require.NoError(t, os.WriteFile(r.key+".pub", []byte(r.server.PublicKey+"\n"), 0o600))
	r.env = append(r.env, "SSH_AUTH_SOCK="+startAgent(t, private))
}

// wrapDocker gives a folder for PATH in which docker first does what a test wants.
func (r *rented) wrapDocker(script string) (dir string) {
	r.t.Helper()
	real, err := exec.LookPath("docker")
	require.NoError(r.t, err)
	dir = r.t.TempDir()
	require.NoError(r.t, program.Write(filepath.Join(dir, "docker"), fmt.Sprintf("#!/bin/sh\n%s\nexec %s \"$@\"\n", script, real)))
	return dir
}

func startAgent(t *testing.T, private any) string {
	t.Helper()
	keys := agent.NewKeyring()
	require.NoError(t, keys.Add(agent.AddedKey{PrivateKey: private}))
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(keys, conn) }()
		}
	}()
	return socket
}
