package deploy

import (
	"context"
	"errors"
	"github.com/dagadbm/vps/mage/internal/run"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeEngine is a container engine that has every image and plays Nix by a
// script. calls gives the command lines so far.
func (f *fixture) fakeEngine(script string) (calls func() string) {
	f.t.Helper()
	engine := filepath.Join(f.t.TempDir(), "docker")
	text := "#!/bin/sh\nprintf '%s\\n' \"$*\" >>\"$0.calls\"\n" +
		"case $1 in version) echo 28.0.0; exit ;; run) ;; *) exit 0 ;; esac\n" + script + "\n"
	require.NoError(f.t, program.Write(engine, text))
	f.config.Install.Engine = engine
	return func() string {
		data, _ := os.ReadFile(engine + ".calls")
		return string(data)
	}
}

// prints is a script that prints text.
func prints(text string) string { return "cat <<'END'\n" + strings.TrimSuffix(text, "\n") + "\nEND" }

const (
	oldRev = "5880666fd9eb563038431edb35c2d0aa595884e6"
	newRev = "1111111111111111111111111111111111111111"
)

func (f *fixture) lockText() string {
	f.t.Helper()
	data, err := os.ReadFile(filepath.Join(f.Dir, "nix/flake.lock"))
	require.NoError(f.t, err)
	return string(data)
}

// movedLock is the present lock with nixpkgs at another commit, a day later.
func (f *fixture) movedLock() string {
	return strings.NewReplacer(oldRev, newRev, "1787204541", "1787290941").Replace(f.lockText())
}

func TestLockWritesWhatNixMadeAndTellsWhatMoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	moved := f.movedLock()
	calls := f.fakeEngine(prints(moved))

	moves, err := f.Lock(t.Context(), "nixpkgs")

	require.NoError(t, err)
	require.Len(t, moves, 1)
	assert.Equal(t, "nixpkgs", moves[0].Input)
	assert.Equal(t, oldRev, moves[0].Old.Rev)
	assert.Equal(t, newRev, moves[0].New.Rev)
	assert.Equal(t, "2026-08-20", moves[0].Old.LastModified.Format("2006-01-02"))
	assert.Equal(t, "2026-08-21", moves[0].New.LastModified.Format("2006-01-02"))
	assert.Equal(t, moved, f.lockText())
	assert.Contains(t, calls(), "print /work/flake.lock run nix")
	assert.Contains(t, calls(), "flake update nixpkgs --flake path:/work")
}

func TestLockArgs(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"flake", "update", "--flake", "path:/work"}, lockArgs(""))
	assert.Equal(t, []string{"flake", "update", "disko", "--flake", "path:/work"}, lockArgs("disko"))
}

func TestLockThatMovesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.fakeEngine(prints(f.lockText()))
	path := filepath.Join(f.Dir, "nix/flake.lock")
	before, err := os.Stat(path)
	require.NoError(t, err)

	moves, err := f.Lock(t.Context(), "")

	require.NoError(t, err)
	assert.Empty(t, moves)
	after, err := os.Stat(path)
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after))
}

func TestLockMakesTheFirstLock(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text := f.lockText()
	require.NoError(t, os.Remove(filepath.Join(f.Dir, "nix/flake.lock")))
	f.fakeEngine(prints(text))

	moves, err := f.Lock(t.Context(), "")

	require.NoError(t, err)
	require.Len(t, moves, 5)
	assert.Equal(t, Pin{}, moves[0].Old)
	assert.Equal(t, text, f.lockText())
}

// Whatever goes wrong, the old lock stays, to the byte.
func TestLockKeepsTheOldFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, script, says string }{
		{"nix fails", "echo \"error: unable to download 'https://api.github.com/x': Couldn't resolve host name (6)\" >&2; exit 1", "resolve host name"},
		{"nix prints something else", "echo hello", "not understood"},
		{"half a lock", "echo '{ \"nodes\": {'", "not understood"},
		{"engine fails", "echo 'docker: Error response from daemon: no space left' >&2; exit 125", "no space left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.fakeEngine(c.script)
			before := f.lockText()

			_, err := f.Lock(t.Context(), "")

			require.ErrorContains(t, err, c.says)
			assert.Equal(t, CodeFailed, codeOf(err))
			var fail *Failure
			require.ErrorAs(t, err, &fail)
			assert.NotEmpty(t, fail.Now)
			assert.NotEmpty(t, fail.NextStep().String())
			assert.Equal(t, before, f.lockText())
			left, err := filepath.Glob(filepath.Join(f.Dir, "nix/.*"))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

func TestLockRefusesToOverwriteAnothersChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := filepath.Join(f.Dir, "nix/flake.lock")
	f.fakeEngine("echo changed >'" + path + "'\n" + prints(f.movedLock()))

	_, err := f.Lock(t.Context(), "")

	require.ErrorContains(t, err, "somebody else")
	assert.Equal(t, "changed\n", f.lockText())
}

func TestLockRefusesBadInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	calls := f.fakeEngine("exit 1")
	for _, input := range []string{"--impure", "path:/", "nixpkgs/", " "} {
		_, err := f.Lock(t.Context(), input)
		assert.Equal(t, CodeUsage, codeOf(err), input)
		assert.ErrorContains(t, err, input)
	}
	f.write("flake.lock", "<<<<<<< HEAD\n")
	_, err := f.Lock(t.Context(), "")
	assert.Equal(t, CodeUsage, codeOf(err))
	assert.Empty(t, calls(), "no container was started")
}

// Nix only warns about an input that the flake does not have, and would move
// nothing.
func TestLockRefusesAnInputThatTheFlakeDoesNotHave(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.fakeEngine(prints(f.movedLock()))
	before := f.lockText()

	_, err := f.Lock(t.Context(), "nixpkg")

	assert.Equal(t, CodeUsage, codeOf(err))
	require.ErrorContains(t, err, "-input=nixpkg: flake.nix has no such input; it has disko, home-manager")
	assert.Equal(t, before, f.lockText())
}

func TestLockEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	before := f.lockText()
	started := filepath.Join(t.TempDir(), "started")
	f.fakeEngine("case $1 in run) : >" + started + "; exec sleep 60 ;; esac")
	errCtrlC := errors.New("ctrl-c")
	go func() {
		for !exists(started) && t.Context().Err() == nil {
			_ = run.NewBackoff().Wait(t.Context())
		}
		cancel(errCtrlC)
	}()

	_, err := f.Lock(ctx, "")

	require.ErrorIs(t, err, errCtrlC)
	assert.Equal(t, before, f.lockText())
}
