package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/terminal"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// laptop is a project that a test deploys from, and what its person is told.
type laptop struct {
	*deploy.Project
	files *e2e.Project
	t     *testing.T
	story *story
}

// story is a writer for several goroutines.
type story struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *story) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newLaptop is a laptop whose vps.yaml knows s as "web".
func newLaptop(t *testing.T, s *e2e.Server) *laptop {
	t.Helper()
	return openLaptop(t, s.Project())
}

// openLaptop reads a project's vps.yaml, and nobody's ssh_config.
func openLaptop(t *testing.T, files *e2e.Project) *laptop {
	t.Helper()
	l := &laptop{files: files, t: t, story: &story{}}
	p := openProject(t, files, l.story)
	p.Dialer.Home = t.TempDir()
	p.Dialer.ConnectTimeout = 2 * time.Second
	p.Who, p.From = "alice", "laptop"
	l.Project = p
	return l
}

// openProject tells what it does to a writer.
func openProject(t *testing.T, files *e2e.Project, story io.Writer) *deploy.Project {
	t.Helper()
	p, err := deploy.Open(files.Dir, terminal.New(strings.NewReader(""), io.Discard, story))
	require.NoError(t, err)
	return p
}

// brisk are the options of an update that nothing needs to be waited for, with
// limits that a busy machine keeps.
func brisk() deploy.UpdateOptions {
	o := deploy.DefaultUpdate()
	o.Settle = 0
	o.Confirm = 40 * time.Second
	o.SwitchTimeout = 60 * time.Second
	return o
}

func (l *laptop) update(o deploy.UpdateOptions) (deploy.Result, error) {
	l.t.Helper()
	results, err := l.Update(l.t.Context(), "web", o)
	if len(results) == 0 {
		return deploy.Result{}, err
	}
	return results[0], err
}

// mustUpdate is an update that has to go well.
func (l *laptop) mustUpdate() deploy.Result {
	l.t.Helper()
	r, err := l.update(brisk())
	require.NoError(l.t, err, "%s", l.story)
	return r
}

// outcome is the end of something that runs beside the test.
type outcome struct {
	deploy.Result
	err error
}

// begin starts an update that the test has something to do during.
func (l *laptop) begin(ctx context.Context, o deploy.UpdateOptions) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() {
		results, err := l.Update(ctx, "web", o)
		end := outcome{err: err}
		if len(results) > 0 {
			end.Result = results[0]
		}
		ended <- end
	}()
	return ended
}

// wait gives the end of what was begun.
func (l *laptop) wait(ended <-chan outcome) outcome {
	l.t.Helper()
	select {
	case end := <-ended:
		return end
	case <-time.After(3 * time.Minute):
		l.t.Fatalf("no end in sight:\n%s", l.story)
		return outcome{}
	}
}

// assertCode checks an exit status and that a failure has its three parts.
func (l *laptop) assertCode(want deploy.Code, err error) {
	l.t.Helper()
	assert.Equal(l.t, int(want), deploy.ExitStatus(err), "%v\n%s", err, l.story)
	if want == deploy.CodeDone {
		return
	}
	var f *deploy.Failure
	if assert.ErrorAs(l.t, err, &f) {
		assert.NotEmpty(l.t, f.State(), "the state of %v", err)
		assert.NotEmpty(l.t, f.NextStep().String(), "the next command of %v", err)
	}
}

// standing is all that outlives a restart, and what runs.
type standing struct {
	Current, Default, Profile string
	Generation                string
	Tree                      string // of /etc/nixos: modes, owners, hashes, links
}

// survey prints a standing: one line each, and the tree so that nothing about it
// can change unseen. At once, because every command costs a container's time.
const survey = `readlink -f /run/current-system; cat /boot/default
	readlink -f /nix/var/nix/profiles/system; readlink /nix/var/nix/profiles/system
	[ ! -d /etc/nixos ] || (cd /etc/nixos &&
	find . -type f -printf '%m %u:%g %P\n' -exec sha256sum {} + | sed 's,  \./, ,'
	find . -type l -printf 'link %P -> %l\n') | LC_ALL=C sort`

func stand(s *e2e.Server) standing {
	lines := append(strings.SplitN(s.Exec(survey), "\n", 5), "")
	return standing{Current: lines[0], Default: lines[1], Profile: lines[2], Generation: lines[3], Tree: lines[4]}
}

// tree is what the project's files must look like at the server.
func (l *laptop) tree() string {
	l.t.Helper()
	var lines []string
	list := func(root, prefix string) {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			name := filepath.ToSlash(filepath.Join(prefix, strings.TrimPrefix(path, root)))
			line, err := treeLine(path, strings.TrimPrefix(name, "/"), e.Type())
			lines = append(lines, strings.Split(line, "\n")...)
			return err
		})
		require.NoError(l.t, err)
	}
	list(filepath.Join(l.Dir, "nix"), "")
	list(filepath.Join(l.Dir, "secrets", "secrets.yaml"), "secrets/secrets.yaml")
	list(filepath.Join(l.Dir, ".sops.yaml"), ".sops.yaml")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func treeLine(path, name string, kind fs.FileMode) (string, error) {
	if kind&fs.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		return "link " + name + " -> " + target, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	mode := "644"
	if info.Mode()&0o100 != 0 {
		mode = "755"
	}
	sum := sha256.Sum256(content)
	return fmt.Sprintf("%s root:root %s\n%s %s", mode, name, hex.EncodeToString(sum[:]), name), nil
}

// assertDeployed checks that the server runs, boots and keeps one system, and
// that its /etc/nixos is the present project, with nothing left beside it.
func (l *laptop) assertDeployed(s *e2e.Server) standing {
	l.t.Helper()
	is := stand(s)
	assert.Equal(l.t, l.tree(), is.Tree, "/etc/nixos is the project's tree")
	assert.Equal(l.t, is.Profile, is.Current, "what runs is the profile's system")
	assert.Equal(l.t, is.Profile, is.Default, "what boots is the profile's system")
	assertTidy(l.t, s)
	return is
}

// assertTidy: no staged tree, intent, deadline, root of a finished run is left.
func assertTidy(t *testing.T, s *e2e.Server) {
	t.Helper()
	left := s.Exec(`ls -d /etc/.nixos-vps-* /var/lib/vps/intent /nix/var/nix/gcroots/vps-* 2>/dev/null || true
		systemctl list-units --plain --no-legend 'vps-*.timer' 'vps-run-*'`)
	assert.Empty(t, left, "what a run must clear away")
}

// rebooted restarts the server and checks that it comes up as it stands.
func (l *laptop) rebooted(s *e2e.Server) {
	l.t.Helper()
	before := stand(s)
	s.Restart()
	assert.Equal(l.t, before, stand(s), "after a restart")
}
