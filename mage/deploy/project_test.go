package deploy

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/require"
)

const repository = "../.."

// fixture is a project of its own, and the hosts it knows.
type fixture struct {
	*Project
	t     *testing.T
	story *buffer
	hosts map[string]config.Host
	order []string
}

// buffer is a writer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newFixture copies this repository's nix/ and example secrets into a project.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	for _, from := range []string{"nix", "secrets", "testdata/age-key.txt", ".sops.yaml"} {
		copyInto(t, filepath.Join(repository, from), filepath.Join(dir, from))
	}
	f := &fixture{t: t, story: &buffer{}, hosts: map[string]config.Host{}}
	ui := term.New(strings.NewReader(""), &buffer{}, f.story)
	f.Project = &Project{
		Dir: dir, config: config.Default(), resolver: f, log: observe.To(ui.Observer()),
		Dialer: &remote.Dialer{Home: dir, ConnectTimeout: 2 * time.Second, HandshakeTimeout: 5 * time.Second},
		Who:    "alice", From: "laptop", allowExample: true,
	}
	return f
}

func copyInto(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	require.NoError(t, err)
	if info.IsDir() {
		require.NoError(t, os.CopyFS(to, os.DirFS(from)))
		return
	}
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, data, 0o600))
}

// Resolve knows the fixture's hosts by name, and all.
func (f *fixture) Resolve(_ context.Context, arg string) ([]config.Host, error) {
	var list []config.Host
	for _, name := range f.order {
		if arg == "all" || arg == name {
			list = append(list, f.hosts[name])
		}
	}
	return list, nil
}

func (f *fixture) ResolveOne(_ context.Context, arg string) (config.Host, error) {
	return f.hosts[arg], nil
}

// server starts a server that the project knows as name.
func (f *fixture) server(name string, options ...vpstest.Option) *vpstest.Server {
	f.t.Helper()
	key, err := os.ReadFile(filepath.Join(repository, "testdata/age-key.txt"))
	require.NoError(f.t, err)
	s := vpstest.Start(f.t, append([]vpstest.Option{vpstest.WithAgeKey(string(key))}, options...)...)
	f.hosts[name] = config.Host{
		Target: remote.Target{Name: name, Address: s.Host(), Port: s.Port(), User: "root",
			Identities: []string{s.ClientKeyFile()}, IdentitiesOnly: true, Agent: "none", HostKey: s.HostKeyLine()},
		PortDeclared: true,
	}
	f.order = append(f.order, name)
	return s
}

// write puts a file into nix/.
func (f *fixture) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.Dir, "nix", path)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(text), 0o644))
}

// behave makes the next system misbehave.
func (f *fixture) behave(s vpstest.System) { f.write(vpstest.ConfFile, s.Conf()) }

func (f *fixture) git(args ...string) string {
	f.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = f.Dir
	out, err := cmd.CombinedOutput()
	require.NoError(f.t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// quick are the options of an update in tests: nothing to settle.
func quick() UpdateOptions {
	o := DefaultUpdate()
	o.Settle = 0
	o.Confirm = 20 * time.Second
	o.SwitchTimeout = 20 * time.Second
	return o
}

func (f *fixture) update(host string, o UpdateOptions) (Result, error) {
	f.t.Helper()
	results, err := f.Update(f.t.Context(), host, o)
	if len(results) == 0 {
		return Result{}, err
	}
	return results[0], err
}

// mustUpdate is an update that has to go well.
func (f *fixture) mustUpdate(host string) Result {
	f.t.Helper()
	r, err := f.update(host, quick())
	require.NoError(f.t, err, "%s", f.story)
	return r
}

func factsOf(t *testing.T, f *fixture, name string) run.Facts {
	t.Helper()
	l, err := f.connect(t.Context(), f.hosts[name])
	require.NoError(t, err)
	defer l.Close()
	facts, err := l.facts(t.Context(), run.FactsQuery{AgeKey: defaultAgeKey, Manifest: true, Units: true})
	require.NoError(t, err)
	return facts
}
