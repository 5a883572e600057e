package secrets

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}

// TestSignalsInEveryPhase interrupts an edit wherever it can be. The file is the
// old or the new one and decrypts; plaintext is left by SIGKILL alone, and only
// until the next run.
func TestSignalsInEveryPhase(t *testing.T) {
	t.Parallel()
	change := `sed -i.bak "s/hunter 2/hunter 3/"`
	slow := filepath.Join(t.TempDir(), "slow-editor")
	require.NoError(t, program.Write(slow, "#!/bin/sh\necho 'new: hunter 4' >> \"$1\"\necho reached\nexec sleep 60\n"))
	for phase, editor := range map[string]string{
		"plaintext": change, "editing": slow, "edited": change, "encrypted": change, "written": change,
		"asking": `sed -i.bak "s/gateway-token/renamed/"`,
	} {
		for name, signal := range signals {
			t.Run(phase+" "+name, func(t *testing.T) {
				t.Parallel()
				ids := newIdentities(t, 1)
				project := newProject(t, ids, exampleYAML)
				base := t.TempDir()
				cmd := helper(t, "edit", project, base, phase, editor)
				startHelper(t, cmd)
				require.NoError(t, cmd.Process.Signal(signal))
				_ = cmd.Wait() // how it ended is not the point

				assertIntact(t, project, ids)
				if signal != syscall.SIGKILL {
					assertNothingIn(t, base)
				}
				sweep([]string{base})
				assertNothingIn(t, base)
				_, err := Set(t.Context(), project.Dir, ids, "gateway-token", "after")
				require.NoError(t, err, "the next run works")
			})
		}
	}
}

func assertNothingIn(t *testing.T, base string) {
	t.Helper()
	left, err := os.ReadDir(base)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func assertIntact(t *testing.T, project Project, ids *Identities) {
	t.Helper()
	value, err := Get(project.Dir, ids, "database.password")
	require.NoError(t, err)
	assert.Contains(t, []string{"hunter 2", "hunter 3"}, value)
	for path, text := range snapshot(t, project.Dir) {
		assert.NotContains(t, text, "hunter", path)
	}
}

// TestWhatWasSavedInTheEditorIsKept: a lost terminal loses no edit.
func TestWhatWasSavedInTheEditorIsKept(t *testing.T) {
	t.Parallel()
	editor := filepath.Join(t.TempDir(), "editor")
	require.NoError(t, program.Write(editor, "#!/bin/sh\nsed -i.bak 's/hunter 2/hunter 4/' \"$1\"\necho reached\nexec sleep 60\n"))
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	cmd := helper(t, "edit", project, t.TempDir(), "none", editor)
	var story strings.Builder
	cmd.Stderr = &story
	startHelper(t, cmd)
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	require.Error(t, cmd.Wait())
	found, err := filepath.Glob(filepath.Join(project.SecretsDir(), "secrets.yaml.kept-*"))
	require.NoError(t, err)
	require.Len(t, found, 1, story.String())
	assert.Contains(t, story.String(), found[0])
	plain, err := mustOpen(t, readAll(t, found[0]), ids).plain()
	require.NoError(t, err)
	assert.Contains(t, string(plain), "hunter 4")
	assertIntact(t, project, ids)
}

// TestKilledWhileWriting: the new file lies complete beside the old one.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	for name, signal := range signals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids := newIdentities(t, 1)
			project := newProject(t, ids, exampleYAML)
			before := readAll(t, project.SecretsFile())
			cmd := helper(t, "set", project, "", "", "")
			startHelper(t, cmd)
			require.NoError(t, cmd.Process.Signal(signal))
			require.Error(t, cmd.Wait())
			assert.Equal(t, before, readAll(t, project.SecretsFile()))
			assertIntact(t, project, ids)

			_, err := Set(t.Context(), project.Dir, ids, "gateway-token", "after")
			require.NoError(t, err)
			left, err := os.ReadDir(project.SecretsDir())
			require.NoError(t, err)
			assert.Len(t, left, 2, "age-key.txt, secrets.yaml, and nothing of the killed one")
		})
	}
}

// TestSweepSparesTheLiving: a folder whose editor is open stays.
func TestSweepSparesTheLiving(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	living, err := newPlainDir([]string{"/nonexistent", base})
	require.NoError(t, err)
	writeText(t, filepath.Join(living.path, "secrets.yaml"), "hunter2")
	assert.Zero(t, sweep([]string{base}))
	assert.FileExists(t, filepath.Join(living.path, "secrets.yaml"))
	living.lock.Close() // as the kernel does for the dead
	require.NoError(t, os.Symlink(t.TempDir(), filepath.Join(base, plainPrefix+"link")))
	assert.Equal(t, 1, sweep([]string{base}))
	assert.NoDirExists(t, living.path)
	_, err = newPlainDir([]string{"/nonexistent"})
	assert.Error(t, err)
}
