package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeEngine is an engine's program that answers as the script says and
// writes each of its command lines to the returned file.
func fakeEngine(t *testing.T, name, script string) (Engine, func() []string) {
	t.Helper()
	dir := t.TempDir()
	engine := filepath.Join(dir, name)
	calls := filepath.Join(dir, "calls")
	text := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%q\n%s\n", calls, script)
	require.NoError(t, program.Write(engine, text))
	return Engine{Program: engine}, func() []string {
		data, _ := os.ReadFile(calls) // none: no calls
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
}

func hintOf(err error) string {
	var hinted interface{ NextStep() next.Step }
	if !errors.As(err, &hinted) {
		return ""
	}
	return hinted.NextStep().String()
}

func TestPingSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		program, stderr string
		want            Problem
		hint            string
	}{
		"docker not running":         {"docker", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", NotRunning, "docker"},
		"docker new words":           {"docker", "failed to connect to the docker API at unix:///x.sock; check if the path is correct: dial unix /x.sock: connect: no such file or directory", NotRunning, "docker"},
		"docker remote name":         {"docker", "error during connect: Get \"http://x/v1\": dial tcp: lookup x: no such host", NotRunning, "DOCKER_HOST"},
		"docker not allowed":         {"docker", "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock", PermissionDenied, "docker group"},
		"podman machine not running": {"podman", "Cannot connect to Podman. Please verify your connection to the Linux system using `podman system connection list`", NotRunning, "podman"},
		"podman not allowed":         {"podman", "Error: open /run/podman/podman.sock: permission denied", PermissionDenied, "podman info"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine, _ := fakeEngine(t, tc.program, "echo '"+strings.ReplaceAll(tc.stderr, "'", "")+"' >&2; exit 1")
			err := engine.Ping(t.Context())
			var problem *EngineError
			require.ErrorAs(t, err, &problem)
			assert.Equal(t, tc.want, problem.Problem)
			assert.Contains(t, hintOf(err), tc.hint)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestPingOfAnEngineThatIsNotInstalled(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"no-such-engine", filepath.Join(t.TempDir(), "docker")} {
		err := Engine{Program: program}.Ping(t.Context())
		var problem *EngineError
		require.ErrorAs(t, err, &problem, program)
		assert.Equal(t, NotInstalled, problem.Problem)
		assert.Contains(t, hintOf(err), "install Docker")
		assert.Contains(t, err.Error(), fmt.Sprintf("%q is not installed", program))
	}
}

func TestPingPassesOtherFailuresOn(t *testing.T) {
	t.Parallel()
	engine, _ := fakeEngine(t, "docker", "echo 'something new' >&2; exit 3")
	err := engine.Ping(t.Context())
	var failed *CommandError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, CommandError{Program: engine.Program, Verb: "version", Code: 3, Stderr: "something new"}, *failed)
	assert.EqualError(t, err, "docker version failed: something new")
}

func TestPingAsksEachEngineInItsOwnWay(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", "echo 28.2.2")
	require.NoError(t, engine.Ping(t.Context()))
	assert.Equal(t, []string{"version --format {{.Server.Version}}"}, calls())
	engine, calls = fakeEngine(t, "podman", "echo 5.4.2")
	require.NoError(t, engine.Ping(t.Context()))
	assert.Equal(t, []string{"info --format {{.Version.Version}}"}, calls())
}

func TestAnEngineThatHangsEndsWithTheContext(t *testing.T) {
	t.Parallel()
	engine, _ := fakeEngine(t, "docker", "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, engine.Ping(ctx), context.DeadlineExceeded)
}

func TestHintsKnowTheSystem(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ program, goos, want string }{
		{"docker", "darwin", "Docker Desktop"},
		{"docker", "linux", "systemctl start docker"},
		{"podman", "darwin", "podman machine start"},
		{"/usr/bin/podman", "linux", "podman info"},
	} {
		err := &EngineError{Program: tc.program, Problem: NotRunning, GOOS: tc.goos}
		assert.Contains(t, err.NextStep().String(), tc.want)
	}
	assert.Contains(t, (&EngineError{Program: "docker", Problem: OtherMachine}).NextStep().String(), "DOCKER_HOST")
}

func TestHasImage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script string
		want   bool
	}{
		"there":               {"echo sha256:abc", true},
		"missing with docker": {"echo 'Error response from daemon: No such image: a:1' >&2; exit 1", false},
		"missing with podman": {"echo 'Error: a:1: image not known' >&2; exit 125", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine, calls := fakeEngine(t, "docker", tc.script)
			have, err := engine.HasImage(t.Context(), "a:1")
			require.NoError(t, err)
			assert.Equal(t, tc.want, have)
			assert.Equal(t, []string{"image inspect --format {{.Id}} a:1"}, calls())
		})
	}
	engine, _ := fakeEngine(t, "docker", "echo 'Cannot connect' >&2; exit 1")
	_, err := engine.HasImage(t.Context(), "a:1")
	assert.Error(t, err, "an engine that does not answer is not an image that is missing")
}

func TestPull(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", "echo layer; echo done")
	var progress strings.Builder
	require.NoError(t, engine.Pull(t.Context(), "nixos/nix:2.31.2", &progress))
	assert.Equal(t, "layer\ndone\n", progress.String())
	assert.Equal(t, []string{"pull nixos/nix:2.31.2"}, calls())

	engine, _ = fakeEngine(t, "docker", "echo 'manifest for a:1 not found' >&2; exit 1")
	err := engine.Pull(t.Context(), "a:1", &progress)
	var image *ImageError
	require.ErrorAs(t, err, &image)
	assert.EqualError(t, err, `image "a:1": docker pull failed: manifest for a:1 not found`)
	assert.Contains(t, hintOf(err), "install.image")
}

func TestRemote(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]bool{
		"":                                    false,
		"unix:///var/run/docker.sock":         false,
		"npipe:////./pipe/docker_engine":      false,
		"fd://":                               false,
		"tcp://127.0.0.1:2375":                false,
		"tcp://[::1]:2375":                    false,
		"tcp://localhost:2375":                false,
		"ssh://core@127.0.0.1:53425/run/x":    false,
		"ssh://user@build.example.org":        true,
		"tcp://192.0.2.7:2376":                true,
		"tcp://127.0.0.1.example.org:2376":    true,
		"https://engine.example.org":          true,
		"ssh://a%zz what is this even://\x00": true,
	} {
		assert.Equal(t, want, isRemote(endpoint), endpoint)
	}
}

func TestRemoteAsksTheContextOfDocker(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", "echo ssh://user@build.example.org")
	remote, err := engine.Remote(t.Context())
	require.NoError(t, err)
	assert.True(t, remote)
	assert.Equal(t, []string{"context inspect --format {{.Endpoints.docker.Host}}"}, calls())

	_, err = engine.HostAccess(t.Context())
	var problem *EngineError
	require.ErrorAs(t, err, &problem)
	assert.Equal(t, OtherMachine, problem.Problem)
}

func TestRemoteAsksTheConnectionOfPodman(t *testing.T) {
	t.Parallel()
	answers := `case "$1" in
info) echo %s ;;
system) echo "false ssh://a@there.example.org"; echo "true %s" ;;
esac`
	for _, tc := range []struct {
		service, uri string
		want         bool
	}{
		{"false", "ssh://core@elsewhere.example.org", false}, // not used at all
		{"true", "ssh://core@127.0.0.1:5000/run/x.sock", false},
		{"true", "ssh://core@build.example.org", true},
	} {
		engine, _ := fakeEngine(t, "podman", fmt.Sprintf(answers, tc.service, tc.uri))
		remote, err := engine.Remote(t.Context())
		require.NoError(t, err)
		assert.Equal(t, tc.want, remote, tc)
	}
}

func TestHostAccess(t *testing.T) {
	t.Parallel()
	assert.Equal(t, HostAccess{Network: "host", Address: "127.0.0.1"}, Engine{Program: "docker"}.hostAccess(false))
	assert.Equal(t, HostAccess{Network: "host", Address: "127.0.0.1"}, Engine{Program: "podman"}.hostAccess(false))
	assert.Equal(t, HostAccess{Address: "host.docker.internal"}, Engine{}.hostAccess(true))
	assert.Equal(t, HostAccess{Address: "host.containers.internal"}, Engine{Program: "podman"}.hostAccess(true))
}

func TestArch(t *testing.T) {
	t.Parallel()
	for program, call := range map[string]string{
		"docker": "version --format {{.Server.Arch}}",
		"podman": "info --format {{.Host.Arch}}",
	} {
		engine, calls := fakeEngine(t, program, "echo arm64")
		arch, err := engine.Arch(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "arm64", arch)
		assert.Equal(t, []string{call}, calls())
	}
}

func TestFindByLabel(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", `printf 'abc\tvps-web-1\trunning\tp1\tSHA256:x\talice@laptop\ndef\tvps-web-2\texited\t\t\t\n'`)
	found, err := engine.FindByLabel(t.Context(), LabelHost, "web-1")
	require.NoError(t, err)
	assert.Equal(t, []Container{
		{ID: "abc", Name: "vps-web-1", State: "running", Project: "p1", Server: "SHA256:x", Who: "alice@laptop"},
		{ID: "def", Name: "vps-web-2", State: "exited"}}, found)
	assert.Equal(t, []string{"ps --all --no-trunc --filter label=vps.host=web-1 --format {{.ID}}\t{{.Names}}\t{{.State}}" +
		"\t{{.Label \"vps.project\"}}\t{{.Label \"vps.server\"}}\t{{.Label \"vps.who\"}}"}, calls())
}

func TestStopRoundsItsGraceUp(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"stop", "--time", "1", "x"}, stopArgs("x", time.Millisecond))
	assert.Equal(t, []string{"stop", "--time", "2", "x"}, stopArgs("x", 2*time.Second))
	assert.Equal(t, []string{"stop", "--time", "0", "x"}, stopArgs("x", 0))
}

func TestStopOfAContainerThatIsGoneIsNoError(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", "echo 'Error response from daemon: No such container: x' >&2; exit 1")
	require.NoError(t, engine.Stop(t.Context(), "x", time.Second))
	assert.Equal(t, []string{"stop --time 1 x", "rm --force --volumes x"}, calls())
}

func TestStopWaitsForARemovalThatIsUnderWay(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", `[ "$1" = rm ] || exit 0
[ "$(grep -c ^rm "${0%/*}/calls")" -lt 3 ] || { echo 'No such container: x' >&2; exit 1; }
echo 'Error response from daemon: removal of container x is already in progress' >&2; exit 1`)
	require.NoError(t, engine.Stop(t.Context(), "x", time.Second))
	assert.Len(t, calls(), 4)
}

func TestStopNamesTheContainerThatStays(t *testing.T) {
	t.Parallel()
	engine, _ := fakeEngine(t, "podman", `[ "$1" = rm ] || exit 0; echo 'device busy' >&2; exit 1`)
	err := engine.Stop(t.Context(), "vps-web-1", time.Second)
	var left *LeftoverError
	require.ErrorAs(t, err, &left)
	assert.Equal(t, "remove it yourself: podman rm --force vps-web-1", hintOf(err))
}

func FuzzParseContainers(f *testing.F) {
	f.Add("abc\tname\trunning\n")
	f.Add("\t\t\n\n\x00\ta\tb\tc\r\n")
	f.Fuzz(func(t *testing.T, out string) {
		for _, c := range parseContainers(out) {
			if c.ID == "" || strings.ContainsAny(c.ID+c.Name+c.State, "\t\n") {
				t.Errorf("%q gave %+v", out, c)
			}
		}
	})
}
