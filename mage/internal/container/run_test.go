package container

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestRunTellsTheEnginesFailureFromThePrograms(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", `[ "$1" = run ] || exit 0; exit 7`)
	err := engine.Run(t.Context(), RunSpec{Image: "a:1", Name: "one"}, io.Discard, io.Discard)
	var exit *ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 7, exit.ExitCode())
	assert.Equal(t, []string{"run --rm --interactive --pull=never --name one a:1", "rm --force --volumes one"}, calls())

	engine, _ = fakeEngine(t, "docker", `[ "$1" = run ] || exit 0
echo "docker: Error response from daemon: No such image: a:1" >&2
echo >&2
echo "Run 'docker run --help' for more information" >&2; exit 125`)
	var stderr bytes.Buffer
	err = engine.Run(t.Context(), RunSpec{Image: "a:1", Name: "one"}, io.Discard, &stderr)
	assert.EqualError(t, err, "docker run failed: docker: Error response from daemon: No such image: a:1")
	assert.Contains(t, stderr.String(), "No such image")
}

// The container of that name is another run's: removing it would end that one.
func TestRunLeavesAnotherContainerOfTheSameNameAlone(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", `echo 'docker: Error response from daemon: Conflict. The container name "/one" is already in use by container "abc".' >&2; exit 125`)
	err := engine.Run(t.Context(), RunSpec{Image: "a:1", Name: "one"}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "already in use")
	assert.Len(t, calls(), 1, "no rm")
}

func TestRunOfAnEngineThatIsNotInstalled(t *testing.T) {
	t.Parallel()
	err := Engine{Program: "no-such-engine"}.Run(t.Context(), RunSpec{Image: "a:1", Name: "one"}, io.Discard, io.Discard)
	var problem *EngineError
	require.ErrorAs(t, err, &problem)
	assert.Equal(t, NotInstalled, problem.Problem)
}

func TestRunRefusesABadSpecBeforeItStartsAnything(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", "exit 0")
	require.Error(t, engine.Run(t.Context(), RunSpec{Image: "a:1"}, io.Discard, io.Discard))
	assert.Equal(t, []string{""}, calls())
}

// A failed removal must not hide why the run failed, nor the other way round.
func TestRunReportsBothFailures(t *testing.T) {
	t.Parallel()
	engine, _ := fakeEngine(t, "docker", `[ "$1" = run ] && exit 9; echo 'device busy' >&2; exit 1`)
	err := engine.Run(t.Context(), RunSpec{Image: "a:1", Name: "one"}, io.Discard, io.Discard)
	var exit *ExitError
	require.ErrorAs(t, err, &exit)
	var left *LeftoverError
	require.ErrorAs(t, err, &left)
	assert.True(t, strings.HasPrefix(err.Error(), exit.Error()))
}

func TestRunHoldsStandardInputOpen(t *testing.T) {
	t.Parallel()
	engine, _ := fakeEngine(t, "docker", `[ "$1" = run ] || exit 0
head -c 5; timeout 0.2 cat >/dev/null && echo eof; echo " end"`)
	var stdout bytes.Buffer
	err := engine.Run(t.Context(), RunSpec{Image: "a:1", Name: "one", Stdin: strings.NewReader("hello")}, &stdout, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, "hello end\n", stdout.String())
}

func TestRunStopsTheContainerWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	errStuck := errors.New("stuck in uploading keys")
	engine, calls := fakeEngine(t, "docker", `case "$1" in
run) echo >"${0%/*}/started"; while [ ! -e "${0%/*}/stop" ]; do sleep 0.02; done; exit 143 ;;
stop) : >"${0%/*}/stop" ;;
esac`)
	started := filepath.Join(filepath.Dir(engine.Program), "started")
	require.NoError(t, unix.Mkfifo(started, 0o600))
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, _ = os.ReadFile(started) // ends once it was written
		cancel(errStuck)
	}()
	err := engine.Run(ctx, RunSpec{Image: "a:1", Name: "one"}, io.Discard, io.Discard)
	require.ErrorIs(t, err, errStuck)
	assert.EqualError(t, err, `container "one" was stopped: stuck in uploading keys`)
	assert.Equal(t, "stop --time 2 one", calls()[1])
	assert.Equal(t, "rm --force --volumes one", calls()[2])
}

// A client that hangs, for example on a dead connection to a remote engine,
// is killed; the container is removed all the same.
func TestRunKillsAClientThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	engine, calls := fakeEngine(t, "docker", `[ "$1" = run ] || exit 0
trap '' TERM; while :; do sleep 0.05; done`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := engine.Run(ctx, RunSpec{Image: "a:1", Name: "one"}, io.Discard, io.Discard)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(begin), 5*time.Second, "mage leaves five seconds after Ctrl-C")
	assert.Contains(t, calls(), "rm --force --volumes one")
}
