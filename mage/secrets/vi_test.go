package secrets

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// display is what a terminal has shown.
type display struct {
	mu   sync.Mutex
	seen bytes.Buffer
}

func (s *display) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Write(p)
}

// await waits until text was shown, and forgets what came before.
func (s *display) await(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, after, found := strings.Cut(s.seen.String(), text)
		if found {
			s.seen.Reset()
			s.seen.WriteString(after)
		}
		return found
	}, 20*time.Second, 10*time.Millisecond, "%q was not shown", text)
}

// TestWithRealVi sits at a terminal: a mistake, back to vi, and right.
func TestWithRealVi(t *testing.T) {
	t.Parallel()
	needProgram(t, "vi", "apt-get install vim")
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	base := t.TempDir()
	cmd := helper(t, "edit", project, base, "none", "")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	require.NoError(t, err)
	defer terminal.Close()
	shown := &display{}
	go shown.copyFrom(terminal)
	send := func(keys string) {
		_, err := terminal.WriteString(keys)
		require.NoError(t, err)
	}

	shown.await(t, "gateway-token")
	send(":%s/hunter 2/hunter 3/\r")
	send("Gobroken: [\x1b:wq\r")
	shown.await(t, "not valid YAML")
	shown.await(t, "type abort: ")
	send("\r")
	shown.await(t, "broken")
	send("Gdd:wq\r")
	require.NoError(t, cmd.Wait())

	value, err := Get(project.Dir, ids, "database.password")
	require.NoError(t, err)
	assert.Equal(t, "hunter 3", value)
	assertNothingIn(t, base)
	for _, entry := range cmd.Env {
		if home, ok := strings.CutPrefix(entry, "HOME="); ok {
			assertNoPlaintext(t, home)
		}
	}
}

func (s *display) copyFrom(terminal *os.File) {
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		_, _ = s.Write(buffer[:n])
		if err != nil {
			return
		}
	}
}

// assertNoPlaintext looks for what vim keeps: viminfo, swap, backup, undo.
func assertNoPlaintext(t *testing.T, dir string) {
	t.Helper()
	for path, text := range snapshot(t, dir) {
		assert.NotContains(t, text, "hunter", filepath.Base(path))
		assert.NotContains(t, text, "broken", filepath.Base(path))
	}
}
