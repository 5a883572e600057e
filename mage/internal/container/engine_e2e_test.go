package container

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These tests run real containers. Without an engine they are skipped, unless
// VPS_E2E=1 says that there must be one.

// probeImage imports an image that holds nothing but the probe.
func probeImage(t *testing.T) (Engine, string) {
	t.Helper()
	engine := Engine{Program: os.Getenv("VPS_E2E_ENGINE")}
	if err := engine.Ping(t.Context()); err != nil {
		if os.Getenv("VPS_E2E") == "1" {
			t.Fatalf("VPS_E2E=1, but: %v", err)
		}
		t.Skipf("needs a container engine: %v", err)
	}
	image := "vps-test-probe:" + objectSuffix(t)
	cmd := exec.CommandContext(t.Context(), engine.program(), "import", "-", image)
	cmd.Stdin = bytes.NewReader(probeArchive(t))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		_ = exec.Command(engine.program(), "image", "rm", "--force", image).Run()
	})
	return engine, image
}

func objectSuffix(t *testing.T) string {
	return fmt.Sprintf("%d-%s", os.Getpid(), strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")))
}

var buildProbe = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "vps-probe")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "probe"), "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the probe: %w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "probe"))
})

func probeArchive(t *testing.T) []byte {
	t.Helper()
	program, err := buildProbe()
	require.NoError(t, err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "probe", Mode: 0o755, Size: int64(len(program))}))
	_, err = w.Write(program)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return archive.Bytes()
}

func probeSpec(t *testing.T, image string, words ...string) RunSpec {
	name := "vps-test-" + objectSuffix(t)
	return RunSpec{
		Image: image, Name: name, Labels: map[string]string{LabelRun: name},
		Init: true, LogDriver: "none", Network: "none", Entrypoint: "/probe", Command: words,
	}
}

func requireGone(t *testing.T, engine Engine, spec RunSpec) {
	t.Helper()
	found, err := engine.FindByLabel(context.WithoutCancel(t.Context()), LabelRun, spec.Name)
	require.NoError(t, err)
	assert.Empty(t, found, "a container is left behind")
}

// said is a buffer that can be waited for.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *said) waitFor(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(s.String(), text) }, 30*time.Second, 10*time.Millisecond)
}

func TestE2ERunSeparatesOutputAndPassesCodes(t *testing.T) {
	t.Parallel()
	engine, image := probeImage(t)
	var stdout, stderr bytes.Buffer
	spec := probeSpec(t, image, "say", "two  words $HOME")
	require.NoError(t, engine.Run(t.Context(), spec, &stdout, &stderr))
	assert.Equal(t, "two  words $HOME\n", stdout.String())
	assert.Equal(t, "to stderr\n", stderr.String())
	requireGone(t, engine, spec)

	spec = probeSpec(t, image, "exit", "9")
	err := engine.Run(t.Context(), spec, &stdout, &stderr)
	var exit *ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 9, exit.Code)
	requireGone(t, engine, spec)
}

func TestE2EImageMissing(t *testing.T) {
	t.Parallel()
	engine, image := probeImage(t)
	have, err := engine.HasImage(t.Context(), image)
	require.NoError(t, err)
	assert.True(t, have)
	have, err = engine.HasImage(t.Context(), image+"-none")
	require.NoError(t, err)
	assert.False(t, have)

	spec := probeSpec(t, image+"-none", "exit", "0")
	var stderr bytes.Buffer
	err = engine.Run(t.Context(), spec, &stderr, &stderr)
	var failed *CommandError
	require.ErrorAs(t, err, &failed)
	assert.Regexp(t, "(?i)no such image|not known", failed.Stderr)
}

func TestE2EInputIsDeliveredAndHeldOpen(t *testing.T) {
	t.Parallel()
	engine, image := probeImage(t)
	spec := probeSpec(t, image, "count", "3000000")
	spec.Stdin = bytes.NewReader(make([]byte, 3000000))
	var stdout said
	require.NoError(t, engine.Run(t.Context(), spec, &stdout, &stdout))
	assert.Equal(t, "3000000 <nil>\n", stdout.String())

	spec = probeSpec(t, image, "until-eof")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var held said
	go func() { done <- engine.Run(ctx, spec, &held, &held) }()
	held.waitFor(t, "ready")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	assert.NotContains(t, held.String(), "<nil>", "its input ended while it still ran")
	requireGone(t, engine, spec)
}

func TestE2ECancelEndsTheProgramInOrder(t *testing.T) {
	t.Parallel()
	engine, image := probeImage(t)
	for _, behaviour := range []string{"until-signal", "ignore-signals"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			spec := probeSpec(t, image, behaviour)
			ctx, cancel := context.WithCancel(t.Context())
			var stdout said
			done := make(chan error, 1)
			go func() { done <- engine.Run(ctx, spec, &stdout, &stdout) }()
			stdout.waitFor(t, "ready")
			begin := time.Now()
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			assert.Less(t, time.Since(begin), 6*time.Second)
			if behaviour == "until-signal" {
				assert.Contains(t, stdout.String(), "terminated")
			}
			requireGone(t, engine, spec)
		})
	}
}

// A killed client leaves its container running; its input ends, and it can be
// found by its label and stopped.
func TestE2EKilledClient(t *testing.T) {
	t.Parallel()
	engine, image := probeImage(t)
	for _, behaviour := range []string{"until-eof", "ignore-signals"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			spec := probeSpec(t, image, behaviour)
			cmd := exec.CommandContext(t.Context(), engine.program(), engine.runArgs(spec)...)
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			defer stdin.Close()
			var stdout said
			cmd.Stdout = &stdout
			require.NoError(t, cmd.Start())
			stdout.waitFor(t, "ready")
			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait()

			if behaviour == "until-eof" {
				require.Eventually(t, func() bool {
					found, err := engine.FindByLabel(t.Context(), LabelRun, spec.Name)
					return err == nil && len(found) == 0
				}, 20*time.Second, 50*time.Millisecond, "its input must end, and so the container")
				return
			}
			found, err := engine.FindByLabel(t.Context(), LabelRun, spec.Name)
			require.NoError(t, err)
			require.Len(t, found, 1)
			assert.Equal(t, spec.Name, found[0].Name)
			assert.Regexp(t, `^(created|running|Up )`, found[0].State) // a busy engine is late to say
			require.NoError(t, engine.Stop(t.Context(), found[0].ID, time.Second))
			requireGone(t, engine, spec)
		})
	}
}

func TestE2ERemoteSeesThisMachinesEngine(t *testing.T) {
	t.Parallel()
	engine, _ := probeImage(t)
	remote, err := engine.Remote(t.Context())
	require.NoError(t, err)
	assert.Equal(t, strings.HasPrefix(os.Getenv("DOCKER_HOST"), "ssh:"), remote)
}
