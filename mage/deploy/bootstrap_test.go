package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/dagadbm/vps/mage/internal/bootstrap"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// candidate is a server that bootstrap could take, and an engine that plays the
// installer as the test says.
type candidate struct {
	hostsOfNix map[string]facts.Host // what Nix says
	*fixture
	server *vpstest.Server
	calls  string // file with the engine's command lines
	o      BootstrapOptions
}

// engineAnswers are those of an engine on this machine that is well.
const engineAnswers = `
case $1 in
version) case $3 in *Arch*) echo amd64 ;; *) echo 27.0 ;; esac ;;
ps) ;;
image) echo sha256:1 ;;
context) echo unix:///var/run/docker.sock ;;
info) echo "Debian GNU/Linux 13" ;;
run) case "$*" in *' eval '*) cat "$0.facts"; exit ;; esac
: >"$0.ran"
%s ;;
esac
`

func newCandidate(t *testing.T, installer string, options ...vpstest.Option) *candidate {
	t.Helper()
	c := &candidate{fixture: newFixture(t), hostsOfNix: ourHosts()}
	c.server = c.fixture.server("web", append([]vpstest.Option{vpstest.WithoutNixOS(), cpio("exit 0")}, options...)...)
	c.put("dev/sda", "")
	c.put("proc/meminfo", "MemTotal: 4000000 kB\n")
	c.engine(fmt.Sprintf(engineAnswers, installer))
	c.ownSecrets()
	h := c.hosts["web"]
	h.Port, h.PortDeclared, h.HostKey = c.server.SparePort(), true, ""
	c.hosts["web"] = h
	c.o = BootstrapOptions{Yes: true, Port: c.server.Port(), HostKey: ssh.FingerprintSHA256(c.server.HostKey())}
	return c
}

// cpio is a program that may be missing on the machine that runs the test.
func cpio(script string) vpstest.Option {
	return vpstest.WithPrograms(map[string]string{"cpio": script + "\n"})
}

// put writes a file of the server.
func (c *candidate) put(path, text string) {
	c.t.Helper()
	path = c.server.Path(path)
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(c.t, os.WriteFile(path, []byte(text), 0o600))
}

// engine replaces the container engine by a script.
func (c *candidate) engine(script string) {
	c.t.Helper()
	dir := c.t.TempDir()
	c.calls = filepath.Join(dir, "calls")
	c.config.Install.Engine = filepath.Join(dir, "docker")
	require.NoError(c.t, os.WriteFile(c.config.Install.Engine+".facts", []byte(nixSays(c.t, c.hostsOfNix)), 0o600))
	require.NoError(c.t, program.Write(c.config.Install.Engine, fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%q\n%s", c.calls, script)))
}

// typing makes somebody sit at the terminal who types this.
func (c *candidate) typing(text string) {
	c.o.Yes = false
	c.log = observe.To(term.New(strings.NewReader(text), &buffer{}, c.story, term.WithTerminal(100, 30)).Observer())
}

func (c *candidate) bootstrap() error {
	c.t.Helper()
	_, err := c.Bootstrap(c.t.Context(), "web", c.o)
	return err
}

func (c *candidate) ran() bool {
	return exists(c.config.Install.Engine + ".ran")
}

// failure wants the three parts of an error.
func failure(t *testing.T, err error, code Code, says, next string) *Failure {
	t.Helper()
	var f *Failure
	require.ErrorAs(t, err, &f)
	assert.Contains(t, f.Error(), says)
	assert.Equal(t, code, f.Code, "%v", f)
	assert.NotEmpty(t, f.Now)
	assert.Contains(t, f.NextStep().String(), next)
	assert.NotEmpty(t, f.NextStep().String())
	return f
}

func TestBootstrapRefusesBeforeItTouchesAnything(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change     func(*candidate)
		options    []vpstest.Option
		code       Code
		says, next string
	}{
		"no terminal": {change: func(c *candidate) { c.o.Yes = false },
			code: CodeUsage, says: "no terminal", next: "-yes"},
		"another name typed": {change: func(c *candidate) { c.typing("web-2\n") },
			code: CodeFailed, says: "its name was not typed", next: "mage bootstrap web"},
		"unknown host key and nobody to ask": {change: func(c *candidate) { c.o.HostKey = "" },
			code: CodeFailed, says: "is not known", next: "-hostkey=SHA256:"},
		"bad system":    {change: func(c *candidate) { c.o.System = "mips" }, code: CodeUsage, says: "-system=mips"},
		"bad builder":   {change: func(c *candidate) { c.o.BuildOn = "moon" }, code: CodeUsage, says: "-buildon=moon"},
		"bad port":      {change: func(c *candidate) { c.o.Port = 70000 }, code: CodeUsage, says: "-port=70000"},
		"bad host key":  {change: func(c *candidate) { c.o.HostKey = "SHA256:abc" }, code: CodeUsage, says: "-hostkey="},
		"bad deadline":  {change: func(c *candidate) { c.config.Install.Deadlines = deadlines("sleeping") }, code: CodeUsage, says: "sleeping"},
		"wrong system":  {change: func(c *candidate) { c.o.System = "arm" }, code: CodeFailed, says: `the server is "x86"`, next: "system"},
		"odd processor": {options: []vpstest.Option{vpstest.WithArch("riscv64")}, code: CodeFailed, says: "riscv64", next: "x86 or arm"},
		"little memory": {change: func(c *candidate) { c.put("proc/meminfo", "MemTotal: 500000 kB\n") }, code: CodeFailed, says: "488 MB", next: "1 GB"},
		"missing disk":  {change: func(c *candidate) { c.remove("dev/sda") }, code: CodeFailed, says: `no disk "/dev/sda"`, next: "disk.nix"},
		"no cpio":       {options: []vpstest.Option{cpio("exit 1")}, code: CodeFailed, says: "cpio", next: "install it"},
		"sudo asks":     {options: []vpstest.Option{vpstest.WithUser("admin"), vpstest.WithSudoPassword()}, change: func(c *candidate) { c.user("admin") }, code: CodeFailed, says: "look at the server", next: "sudo without a password"},
		"no engine":     {change: func(c *candidate) { c.config.Install.Engine = "/no/such/docker" }, code: CodeFailed, says: "is not installed", next: "install Docker"},
		"engine is off": {change: func(c *candidate) { c.engine("echo 'Cannot connect to the Docker daemon' >&2; exit 1") }, code: CodeFailed, says: "does not answer", next: "docker"},
		"no image":      {change: func(c *candidate) { c.noImage() }, code: CodeFailed, says: "nixos/nix", next: "install.image"},
		"example key":   {change: func(c *candidate) { c.example() }, code: CodeUsage, says: "example key"},
		"no lock":       {change: func(c *candidate) { c.gone("nix/flake.lock") }, code: CodeUsage, says: "flake.lock", next: "mage lock"},
		"no login":      {change: func(c *candidate) { c.set("ssh-public-key", stranger(c.t)) }, code: CodeUsage, says: "lock you out", next: "secrets:set"},
		"missing secret": {change: func(c *candidate) {
			c.nixSays(func(h *facts.Host) {
				h.Secrets = append(h.Secrets, facts.Secret{Name: "unheard-of", Key: "unheard-of", File: secretsPath})
			})
		}, code: CodeUsage, says: "unheard-of", next: "secrets:set"},
		"unreachable": {change: func(c *candidate) { c.o.Port = c.server.SparePort() }, code: CodeUnreachable, says: "connect", next: "port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCandidate(t, "cat >/dev/null", tc.options...)
			if tc.change != nil {
				tc.change(c)
			}
			err := c.bootstrap()
			var f *Failure
			require.ErrorAs(t, err, &f, "%s", c.story)
			assert.Contains(t, f.Error(), tc.says)
			assert.Equal(t, tc.code, f.Code, "%v", f)
			assert.NotEmpty(t, f.Now)
			assert.Contains(t, f.NextStep().String(), tc.next)
			assert.False(t, c.ran(), "the installer was started")
			assert.NotContains(t, c.server.ReadFile("root/.ssh/authorized_keys"), "vps-install")
			assert.NoFileExists(t, bootstrap.RecordPath(c.Dir, c.hosts["web"]))
		})
	}
}

// The consent shows what is lost, and the typed name accepts an unknown key.
func TestBootstrapShowsWhatItWipesAndTakesTheTypedName(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "cat >/dev/null & echo 'aborted: enough' >&2; exit 3", vpstest.WithHostname("old-box"))
	c.o.HostKey = ""
	c.typing("web\n")

	f := failure(t, c.bootstrap(), CodeFailed, "enough", "bootstrap")

	assert.Contains(t, f.Now, "as it was")
	assert.True(t, c.ran())
	for _, part := range []string{"old-box", "Debian", `"/dev/sda"`, ssh.FingerprintSHA256(c.server.HostKey()) + ", not known here", "vps-x86"} {
		assert.Contains(t, c.story.String(), part)
	}
	assert.NoFileExists(t, filepath.Join(c.Dir, ".ssh/known_hosts"), "a system that goes is not remembered")
}

func TestBootstrapTakesItsKeyBackWhenItFailsBeforeTheWipe(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		steps string
		code  Code
		now   string
		kept  bool
	}{
		"first login": {"### Uploading install SSH keys ###", CodeFailed, "as it was", false},
		"installer":   {"### Switching system into kexec ###", CodeFailed, "a reboot brings the old system back", false},
		"wiped":       {"### Formatting hard drive with disko ###", CodeUnknown, "must not be rebooted", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := filepath.Join(t.TempDir(), "seen")
			c := newCandidate(t, "")
			c.engine(fmt.Sprintf(engineAnswers, fmt.Sprintf("cat >/dev/null & cp %q %q; echo %q; exit 7",
				c.server.Path("root/.ssh/authorized_keys"), seen, tc.steps)))

			f := failure(t, c.bootstrap(), tc.code, "exit code 7", "bootstrap")

			assert.Contains(t, f.Now, tc.now)
			during, err := os.ReadFile(seen)
			require.NoError(t, err)
			assert.Contains(t, string(during), "vps-install-", "the control: it was there")
			assert.Equal(t, tc.kept, strings.Contains(c.server.ReadFile("root/.ssh/authorized_keys"), "vps-install-"))
			record, err := os.ReadFile(bootstrap.RecordPath(c.Dir, c.hosts["web"]))
			require.NoError(t, err)
			assert.Equal(t, tc.kept, strings.Contains(string(record), bootstrap.InstallerFormatting.String()))
			logs, err := filepath.Glob(filepath.Join(c.Dir, ".vps/logs/*"))
			require.NoError(t, err)
			require.Len(t, logs, 1)
			info, err := os.Stat(logs[0])
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

			// A second run cleans up after the first, whatever it does then.
			c.engine(fmt.Sprintf(engineAnswers, "cat >/dev/null & exit 1"))
			require.Error(t, c.bootstrap())
			assert.NotContains(t, c.server.ReadFile("root/.ssh/authorized_keys"), "vps-install-")
		})
	}
}

// A container has no way to this machine's loopback, nor through our jump hosts:
// it gets a port that leads there.
func TestBootstrapForwardsAPortToWhatAContainerCannotReach(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, `cat >/dev/null &
	port=$(echo "$*" | sed -n 's/.*--ssh-port \([0-9]*\).*/\1/p')
	bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; head -n 1 <&3"
	exit 3`)

	failure(t, c.bootstrap(), CodeFailed, "exit code 3", "bootstrap")

	assert.Contains(t, c.story.String(), "  SSH-2.0-")
	calls, err := os.ReadFile(c.calls)
	require.NoError(t, err)
	if runtime.GOOS == "linux" { // elsewhere engines live in a virtual machine
		assert.Contains(t, string(calls), "--network host")
	}
	assert.NotContains(t, string(calls), fmt.Sprintf("--ssh-port %d ", c.server.Port()))
	assert.Contains(t, string(calls), "--post-kexec-ssh-port", "where the installer's own system will listen")
}

func TestBootstrapStopsWhatAnEarlierOneLeftRunning(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "exit 1")
	c.engine(strings.Replace(fmt.Sprintf(engineAnswers, "exit 1"), "ps) ;;", "ps) printf 'abc123\\tvps-old\\trunning\\n' ;;", 1))
	require.Error(t, c.bootstrap())
	calls, err := os.ReadFile(c.calls)
	require.NoError(t, err)
	stop, run := strings.Index(string(calls), "stop --time 10 abc123"), strings.LastIndex(string(calls), "\nrun ")
	assert.Positive(t, stop)
	assert.Greater(t, run, stop)
	assert.Contains(t, string(calls), "label=vps.host=web")
}

func TestBootstrapOfOneHostRunsOnce(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "exit 1")
	path := strings.TrimSuffix(bootstrap.RecordPath(c.Dir, c.hosts["web"]), ".json") + ".lock"
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	other, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))
	failure(t, c.bootstrap(), CodeBusy, "another bootstrap", "wait")
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_UN))
	require.NoError(t, other.Close())
	failure(t, c.bootstrap(), CodeFailed, "installer failed", "")
}
