package container_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/e2e/fresh"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// transcript is what an installer said so far.
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

func (s *transcript) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Reset()
}

// installation is one server, and all that is needed to install it.
type installation struct {
	t       *testing.T
	project *e2e.Project
	server  *fresh.Server
	install container.Install
	payload container.Payload
	there   bool // the server builds
	out     transcript
	done    chan error
	cancel  context.CancelFunc
}

func prepare(t *testing.T, opts ...fresh.Option) *installation {
	t.Helper()
	server := fresh.Start(t, opts...)
	private, public := fresh.NewSSHKey(t)
	server.Exec(fmt.Sprintf("echo '%[1]s' >>/root/.ssh/authorized_keys; echo '%[1]s' >>/home/admin/.ssh/authorized_keys", public))
	hostPrivate, hostPublic := fresh.NewSSHKey(t)
	project := fresh.NewProject(t)
	return &installation{
		t: t, project: project, server: server,
		install: container.Install{
			Job: container.Job{
				Run:  "vps-test-" + filepath.Base(t.TempDir()) + "-" + strings.ReplaceAll(server.Address().String(), ".", "-"),
				Host: "web-" + server.Address().String(), Image: fresh.NixImage(t), Network: server.Network(),
			},
			Flake: e2e.Output(), User: "root", Address: server.Address().String(), Port: 22, Mark: "test/1/tester@here",
		},
		payload: container.Payload{
			Tree: files(t, filepath.Join(project.Dir, "nix")), InstallKey: []byte(private),
			KnownKeys: []string{server.HostKey}, AgeKey: []byte(server.AgeIdentity + "\n"),
			HostKey: []byte(hostPrivate), HostKeyPublic: []byte(hostPublic + "\n"),
		},
	}
}

// files reads a folder as the tree package would.
func files(t *testing.T, dir string) []container.File {
	t.Helper()
	var tree []container.File
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		tree = append(tree, container.File{Path: name, Mode: info.Mode(), Data: data})
		return err
	}))
	return tree
}

func (i *installation) spec(stage container.Stage) container.RunSpec {
	i.t.Helper()
	in := i.install
	in.Stage = stage
	archive, err := in.Archive(i.payload)
	require.NoError(i.t, err)
	spec, err := in.Spec(archive)
	require.NoError(i.t, err)
	return spec
}

// build builds what is installed, unless the server does.
func (i *installation) build() {
	i.t.Helper()
	if i.there || i.install.Built != (container.Built{}) {
		return
	}
	job := i.install.Job
	job.Run += "-build"
	build := "path:/work#nixosConfigurations." + i.install.Flake + ".config.system.build."
	command := container.NixCommand{Job: job, Args: []string{"build", "--no-write-lock-file", "--no-link", "--print-out-paths", build + "diskoScript", build + "toplevel"}}
	archive, err := command.Archive(i.payload.Tree)
	require.NoError(i.t, err)
	var stdout, stderr bytes.Buffer
	require.NoError(i.t, container.Engine{}.Run(i.t.Context(), command.Spec(archive), &stdout, &stderr), "%s", &stderr)
	paths := strings.Fields(stdout.String())
	require.Len(i.t, paths, 2)
	i.install.Built = container.Built{Disko: paths[0], System: paths[1]}
}

// start runs both stages of the installer; the end arrives at i.done.
func (i *installation) start() {
	i.t.Helper()
	i.build()
	stages := []container.RunSpec{i.spec(container.StageInstaller), i.spec(container.StageSystem)}
	ctx, cancel := context.WithTimeout(i.t.Context(), 5*time.Minute)
	i.cancel = cancel
	i.done = make(chan error, 1)
	go func() {
		var err error
		for _, spec := range stages {
			if err = (container.Engine{}).Run(ctx, spec, &i.out, &i.out); err != nil {
				break
			}
		}
		i.done <- err
	}()
	i.t.Cleanup(func() {
		cancel()
		if i.t.Failed() {
			i.t.Log(i.out.String())
		}
	})
}

func (i *installation) await(text string) {
	i.t.Helper()
	require.Eventually(i.t, func() bool { return strings.Contains(i.out.String(), text) },
		2*time.Minute, 20*time.Millisecond, "the installer never said %q", text)
}

func (i *installation) end() error {
	i.t.Helper()
	select {
	case err := <-i.done:
		return err
	case <-time.After(4 * time.Minute):
		require.Fail(i.t, "the installer does not end")
		return nil
	}
}

func (i *installation) assertNoContainer() {
	i.t.Helper()
	found, err := container.Engine{}.FindByLabel(context.Background(), container.LabelHost, i.install.Host)
	require.NoError(i.t, err)
	assert.Empty(i.t, found)
}

// login logs in to the new system, which must show the host key that we made.
func (i *installation) login() *ssh.Client {
	i.t.Helper()
	private, err := os.ReadFile(i.server.KeyFile)
	require.NoError(i.t, err)
	signer, err := ssh.ParsePrivateKey(private)
	require.NoError(i.t, err)
	pinned, _, _, _, err := ssh.ParseAuthorizedKey(i.payload.HostKeyPublic)
	require.NoError(i.t, err)
	address := netip.AddrPortFrom(i.server.Address(), 2222).String()
	var client *ssh.Client
	require.Eventually(i.t, func() bool {
		client, err = ssh.Dial("tcp", address, &ssh.ClientConfig{
			User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
			HostKeyCallback: ssh.FixedHostKey(pinned), Timeout: 5 * time.Second,
		})
		return err == nil
	}, time.Minute, 200*time.Millisecond)
	i.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (i *installation) assertInstalled() {
	i.t.Helper()
	session, err := i.login().NewSession()
	require.NoError(i.t, err)
	out, err := session.CombinedOutput("stat -c '%a %U %n' / /etc /etc/ssh /var /var/lib /var/lib/sops-nix /var/lib/sops-nix/key.txt " +
		"/etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key.pub")
	require.NoError(i.t, err, "%s", out)
	assert.Equal(i.t, []string{
		"755 root /", "755 root /etc", "755 root /etc/ssh", "755 root /var", "755 root /var/lib",
		"700 root /var/lib/sops-nix", "600 root /var/lib/sops-nix/key.txt",
		"600 root /etc/ssh/ssh_host_ed25519_key", "644 root /etc/ssh/ssh_host_ed25519_key.pub",
	}, strings.Split(strings.TrimSpace(string(out)), "\n"))
	assert.Equal(i.t, "nixos", i.server.Life())
	assert.Equal(i.t, "system-1-link", i.server.Exec("readlink /nix/var/nix/profiles/system"))
	assert.Equal(i.t, string(i.payload.AgeKey), i.server.Exec("cat /var/lib/sops-nix/key.txt")+"\n")
	assert.Equal(i.t, "a token", i.server.Exec("cat /run/secrets/gateway-token"))
	i.server.Exec("! test -e /old-data")
}

// assertUpdatable rebuilds the system that was installed, on the server, from
// the same tree: what bootstrap does next.
func (i *installation) assertUpdatable() {
	i.t.Helper()
	tree, err := exec.CommandContext(i.t.Context(), "tar", "-C", filepath.Join(i.project.Dir, "nix"), "--owner=0", "--group=0", "-c", ".").Output()
	require.NoError(i.t, err)
	session, err := i.login().NewSession()
	require.NoError(i.t, err)
	session.Stdin = bytes.NewReader(tree)
	out, err := session.CombinedOutput("mkdir /etc/nixos && tar -C /etc/nixos -x")
	require.NoError(i.t, err, "%s", out)
	built := i.server.Exec("cd /tmp && nixos-rebuild build --no-reexec --flake path:/etc/nixos#" + e2e.Output())
	assert.Equal(i.t, i.server.Exec("readlink -f /run/current-system"), built, "the same tree gives the same system")
	assert.Equal(i.t, built, i.server.Exec("cat /boot/default"))
}

func TestE2EInstall(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"root", "admin"} {
		for _, there := range []bool{false, true} {
			if user == "admin" && there {
				continue
			}
			t.Run(fmt.Sprintf("%s, built there: %v", user, there), func(t *testing.T) {
				t.Parallel()
				i := prepare(t)
				i.install.User, i.there = user, there
				i.start()
				require.NoError(t, i.end())
				i.assertNoContainer()
				i.assertInstalled()
				i.assertUpdatable()
			})
		}
	}
}

// The engine, the process list and the disk of the laptop are open to others:
// while the installer works, none of them may hold a key.
func TestE2ENoKeyIsToBeSeenDuringAnInstall(t *testing.T) {
	t.Parallel()
	i := prepare(t, fresh.WithKnob("nixos-install", "while [ ! -e /knobs/go ]; do sleep 0.1; done"))
	i.start()
	i.await("### Installing NixOS ###")
	volume := container.VolumeName(i.install.Image)
	secrets := []string{strings.TrimSpace(string(i.payload.AgeKey)), strings.Split(string(i.payload.HostKey), "\n")[1]}
	for name, script := range map[string]string{
		"inspect":          "docker inspect $NAME",
		"engine's log":     "docker logs $NAME 2>&1 || true",
		"process list":     "ps -eww -o args | grep -v 'ps -eww'",
		"environments":     "docker exec $NAME sh -c 'cat /proc/[0-9]*/environ' | tr '\\0' '\\n'",
		"container's disk": "docker export $NAME | tar -xO",
		"image":            "docker image inspect $IMAGE; docker history --no-trunc $IMAGE; docker save $IMAGE | tar -xO",
		"volume":           "docker run --rm -v $VOLUME:/nix:ro --entrypoint /bin/sh $IMAGE -c 'tar -cO /nix 2>/dev/null'",
	} {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
		cmd.Env = append(os.Environ(), "NAME="+i.install.Run, "IMAGE="+i.install.Image, "VOLUME="+volume)
		out, err := cmd.Output()
		require.NoError(t, err, name)
		if name != "engine's log" {
			require.Greater(t, len(out), 100, "%s: nothing was looked at", name)
		}
		for _, secret := range secrets {
			assert.False(t, bytes.Contains(out, []byte(secret)), "a key is in: %s", name)
		}
	}
	// The control: where the key must be, this way of looking finds it.
	out, err := exec.CommandContext(t.Context(), "docker", "exec", i.install.Run, "cat", "/extra-files/var/lib/sops-nix/key.txt").Output()
	require.NoError(t, err)
	assert.Equal(t, i.payload.AgeKey, out)

	i.server.Exec("touch /knobs/go")
	require.NoError(t, i.end())
	i.assertInstalled()
	for _, secret := range secrets {
		assert.NotContains(t, i.out.String(), secret)
	}
}

// nixos-anywhere trusts every host key; the wrapper does not. Neither the
// system nor the age key may reach a server that is not the verified one.
func TestE2EAnotherServerGetsNothing(t *testing.T) {
	t.Parallel()
	i := prepare(t)
	_, other := fresh.NewSSHKey(t)
	i.payload.KnownKeys = []string{other}
	i.start()
	i.await("Host key verification failed.")
	i.cancel()
	require.ErrorIs(t, i.end(), context.Canceled)
	i.assertNoContainer()
	assert.Equal(t, "debian", i.server.Life())
	assert.NotContains(t, i.out.String(), "### Gathering machine facts ###")
	i.server.Exec("test -e /disk/old-data && ! test -e /nix && ! test -e /var/lib/sops-nix && ! test -e /root/kexec")
}

// A server that is another one after the restart into the installer: the copy
// of the system, which Nix starts by itself, is guarded too.
func TestE2EAnotherServerAfterKexecGetsNothing(t *testing.T) {
	t.Parallel()
	i := prepare(t, fresh.WithKnob("kexec", "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"))
	i.start()
	i.await("### Switching system into kexec ###")
	i.await("Host key verification failed.")
	i.cancel()
	require.ErrorIs(t, i.end(), context.Canceled)
	assert.Equal(t, "installer", i.server.Life())
	i.server.Exec("test -e /disk/old-data && ! test -e /nix/store && ! mountpoint /mnt")
}

func TestE2EFailuresKeepTheirExitCode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		place string
		code  int
		last  string
		wiped bool
	}{
		"disko":         {"disko", 7, "### Formatting hard drive with disko ###", false},
		"nixos-install": {"nixos-install", 9, "### Installing NixOS ###", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := prepare(t, fresh.WithKnob(tc.place, fmt.Sprintf("exit %d", tc.code)))
			i.start()
			var exit *container.ExitError
			require.ErrorAs(t, i.end(), &exit)
			assert.Equal(t, tc.code, exit.Code)
			steps := strings.Split(strings.TrimSpace(i.out.String()), "###")
			assert.Contains(t, tc.last, strings.TrimSpace(steps[len(steps)-2]))
			i.assertNoContainer()
			_, err := i.server.Try("test -e /disk/old-data")
			assert.Equal(t, tc.wiped, err != nil)
			_, err = i.server.Try("test -e /mnt/var/lib/sops-nix/key.txt")
			assert.Equal(t, tc.wiped, err == nil, "after a failed install the disk may hold the age key")

			// Once more, with the fault mended: the installer is still there.
			i.server.Exec("rm /knobs/*")
			i.out.reset()
			i.start()
			require.NoError(t, i.end())
			assert.NotContains(t, i.out.String(), "### Switching system into kexec ###")
			i.assertInstalled()
		})
	}
}

// A killed client cannot stop anything, but the container sees its input end, and
// what runs on the server ends with the connection.
func TestE2EKilledClientEndsTheInstaller(t *testing.T) {
	t.Parallel()
	i := prepare(t, fresh.WithKnob("disko", "echo $$ >/run/reached; sleep 600"))
	i.build()
	require.NoError(t, container.Engine{}.Run(t.Context(), i.spec(container.StageInstaller), &i.out, &i.out), "%s", &i.out)
	client, stdin := startClient(t, i.spec(container.StageSystem))
	i.server.Await("test -e /run/reached", 2*time.Minute)
	require.NoError(t, client.Process.Kill())
	_ = client.Wait()
	_ = stdin.Close()
	require.Eventually(t, func() bool {
		found, err := container.Engine{}.FindByLabel(t.Context(), container.LabelHost, i.install.Host)
		return err == nil && len(found) == 0
	}, 30*time.Second, 100*time.Millisecond)
	i.server.Await("! kill -0 $(cat /run/reached) 2>/dev/null", 30*time.Second)
	i.server.Exec("test -e /disk/old-data")
}

// startClient starts the engine's own client, without the runner around it.
func startClient(t *testing.T, spec container.RunSpec) (*exec.Cmd, io.Closer) {
	t.Helper()
	client := exec.CommandContext(t.Context(), "docker", container.Engine{}.RunArgs(spec)...)
	stdin, err := client.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, client.Start())
	_, err = io.Copy(stdin, spec.Stdin)
	require.NoError(t, err)
	return client, stdin
}

func TestE2ENixCommands(t *testing.T) {
	t.Parallel()
	project := fresh.NewProject(t)
	job := container.Job{Run: "vps-test-" + filepath.Base(t.TempDir()) + "-nix", Image: fresh.NixImage(t), Network: "none"}
	nix := func(command container.NixCommand) (string, error) {
		command.Job = job
		archive, err := command.Archive(files(t, filepath.Join(project.Dir, "nix")))
		require.NoError(t, err)
		var stdout, stderr bytes.Buffer
		if err := (container.Engine{}).Run(t.Context(), command.Spec(archive), &stdout, &stderr); err != nil {
			return stderr.String(), err
		}
		return stdout.String(), nil
	}
	port := "path:/work#nixosConfigurations." + e2e.Output() + ".config.services.openssh.ports"
	out, err := nix(container.NixCommand{Args: []string{"eval", "--json", port}})
	require.NoError(t, err, out)
	assert.Equal(t, "[2222]\n", out)

	want, err := os.ReadFile(filepath.Join(project.Dir, "nix", "flake.lock"))
	require.NoError(t, err)
	out, err = nix(container.NixCommand{Args: []string{"flake", "update", "--flake", "path:/work"}, Print: "/work/flake.lock"})
	require.NoError(t, err, out)
	assert.JSONEq(t, string(want), out)

	project.Write("nix/settings.json", "{")
	out, err = nix(container.NixCommand{Args: []string{"eval", "--json", port}})
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 1, exit.Code)
	assert.Contains(t, out, "error:")
}
