package deploy

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/dagadbm/vps/mage/internal/bootstrap"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
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

// engineAnswers are those of an engine on this machine that is well: to the three
// containers that build, start the installer and install.
const engineAnswers = `
case $1 in
version) case $3 in *Arch*) echo amd64 ;; *) echo 27.0 ;; esac ;;
ps) ;;
image) echo sha256:1 ;;
context) echo unix:///var/run/docker.sock ;;
info) echo "Debian GNU/Linux 13" ;;
run) case "$*" in *' eval '*) cat "$0.facts"; exit ;; esac
: >"$0.ran"
cat >/dev/null & case "$*" in
    *" build "*) %s ;;
    *"--phases kexec"*) %s ;;
    *) %s ;;
    esac ;;
esac
`

const built = `echo /nix/store/00000000000000000000000000000000-disko; echo /nix/store/11111111111111111111111111111111-nixos`

// newCandidate is a server on which the container that starts the installer does
// what a test says.
func newCandidate(t *testing.T, installer string, options ...vpstest.Option) *candidate {
	t.Helper()
	c := &candidate{fixture: newFixture(t), hostsOfNix: ourHosts()}
	c.server = c.fixture.server("web", append([]vpstest.Option{vpstest.WithoutNixOS(), cpio("exit 0")}, options...)...)
	c.put("dev/sda", "")
	c.put("disks", oneDisk)
	c.put("etc/ssh/ssh_host_ed25519_key", "its private half")
	c.put("etc/ssh/ssh_host_ed25519_key.pub", c.server.HostKeyLine()+"\n")
	c.put("proc/meminfo", "MemTotal: 4000000 kB\n")
	c.installerPort = c.server.Port()
	c.stages(built, installer, "exit 1")
	c.ownSecrets()
	h := c.hosts["web"]
	h.Port, h.PortDeclared, h.HostKey = c.server.SparePort(), true, ""
	c.hosts["web"] = h
	c.o = BootstrapOptions{Yes: true, Port: c.server.Port(), HostKey: ssh.FingerprintSHA256(c.server.HostKey())}
	return c
}

const oneDisk = "NAME=\"sda\" SIZE=\"40000000000\" MODEL=\"QEMU\" SERIAL=\"root-1\"\n"

// stages says what the three containers do.
func (c *candidate) stages(build, installer, system string) {
	c.t.Helper()
	c.engine(fmt.Sprintf(engineAnswers, build, installer, system))
}

// kexec makes the server run the installer.
func (c *candidate) kexec() string {
	return fmt.Sprintf("echo VARIANT_ID=installer >>%q; echo '### Switching system into kexec ###'; echo '### Gathering machine facts ###'; echo '### Done! ###'",
		c.server.Path("etc/os-release"))
}

// cpio is a program that may be missing on the machine that runs the test.
func cpio(script string) vpstest.Option {
	return vpstest.WithPrograms(map[string]string{"cpio": script + "\n", "lsblk": "cat $VPS_ROOT/disks\n"})
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
		"no login by plain keys": {change: func(c *candidate) {
			c.nixSays(func(h *facts.Host) {
				h.RootKeys, h.RootKeyFiles = []string{strings.TrimSpace(stranger(c.t))}, []string{}
			})
		}, code: CodeUsage, says: "lock you out", next: "vps.admins"},
		"login for one command": {change: func(c *candidate) {
			mine := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c.server.ClientKey().PublicKey())))
			c.nixSays(func(h *facts.Host) { h.RootKeys, h.RootKeyFiles = []string{`command="backup" ` + mine}, []string{} })
		}, code: CodeUsage, says: "lock you out", next: "vps.admins"},
		"missing secret": {change: func(c *candidate) {
			c.nixSays(func(h *facts.Host) {
				h.Secrets = append(h.Secrets, secrets.Declared{Name: "unheard-of", Key: "unheard-of", File: secretsPath})
			})
		}, code: CodeUsage, says: "unheard-of", next: "secrets:set"},
		"no age key": {change: func(c *candidate) {
			c.nixSays(func(h *facts.Host) { h.Age = &facts.Age{SSHKeyPaths: []string{}} })
		}, code: CodeUsage, says: "neither sops.age.keyFile nor sops.age.sshKeyPaths", next: "sops.age.keyFile = \"/var/lib/sops-nix/key.txt\", then run: mage bootstrap web"},
		"the new host key alone": {change: func(c *candidate) {
			c.nixSays(func(h *facts.Host) { h.Age = &facts.Age{SSHKeyPaths: []string{"/etc/ssh/ssh_host_ed25519_key"}} })
		}, code: CodeUsage, says: "only its SSH host key, which is new", next: "sops.age.keyFile"},
		"no output": {change: func(c *candidate) {
			h := c.hosts["web"]
			h.Flake = "web-9"
			c.hosts["web"] = h
		}, code: CodeUsage, says: `no output "web-9"`, next: "nixosConfigurations"},
		"does not evaluate": {change: func(c *candidate) {
			script := strings.Replace(engineAnswers, `cat "$0.facts"; exit`, `echo "error: undefined variable 'x'" >&2; exit 1`, 1)
			require.NotEqual(c.t, engineAnswers, script)
			c.engine(fmt.Sprintf(script, "exit 1", "exit 1", "exit 1"))
		}, code: CodeUsage, says: "undefined variable 'x'", next: "correct"},
		"second disk is missing": {change: func(c *candidate) {
			c.nixSays(func(h *facts.Host) { h.Disks = []string{"/dev/sda", "/dev/sdb"} })
		}, code: CodeFailed, says: `/dev/sdb`},
		"unreachable": {change: func(c *candidate) { c.o.Port = c.server.SparePort() }, code: CodeUnreachable, says: "connect", next: "port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCandidate(t, "exit 1", tc.options...)
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

// Whoever has a key in vps.admins alone was told that the new system would lock him
// out; and where sshd asks a command for keys, nobody knows, which stops nobody.
func TestBootstrapJudgesAllLoginKeys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit  func(h *facts.Host, mine string)
		warns string
	}{
		"plain, beside a secret":  {edit: func(h *facts.Host, mine string) { h.RootKeys = []string{"no-pty " + mine} }},
		"plain alone":             {edit: func(h *facts.Host, mine string) { h.RootKeys, h.RootKeyFiles = []string{mine}, []string{} }},
		"plain, beside a command": {edit: func(h *facts.Host, mine string) { h.RootKeys, h.RootKeyFiles = []string{mine}, nil }},
		"a command":               {edit: func(h *facts.Host, _ string) { h.RootKeyFiles = nil }, warns: "from elsewhere"},
		"a file of the server":    {edit: func(h *facts.Host, _ string) { h.RootKeyFiles = []string{"%h/.ssh/authorized_keys"} }, warns: "%h/.ssh/authorized_keys"},
		"keys that are unknown":   {edit: func(h *facts.Host, _ string) { h.RootKeys = nil }, warns: "keys of root are unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCandidate(t, "")
			c.set("ssh-public-key", stranger(t))
			mine := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c.server.ClientKey().PublicKey())))
			c.nixSays(func(h *facts.Host) { tc.edit(h, mine) })

			failure(t, c.bootstrap(), CodeFailed, "exit code 1", "bootstrap") // of the installer

			assert.True(t, c.ran())
			told := strings.Count(c.story.String(), "whether you can log in to the new system is unknown")
			if tc.warns == "" {
				assert.Zero(t, told, "%s", c.story)
				return
			}
			assert.Equal(t, 1, told, "%s", c.story)
			assert.Contains(t, c.story.String(), tc.warns)
		})
	}
}

// The consent shows what is lost, and the typed name accepts an unknown key.
func TestBootstrapShowsWhatItWipesAndTakesTheTypedName(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "echo 'aborted: enough' >&2; exit 3", vpstest.WithHostname("old-box"))
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

// Whatever fails: what is said of the server is what it runs then. Before kexec the
// install key goes again; after it, it stays, with its private half, and the person's
// own key gets in.
func TestBootstrapFailsInEveryPhase(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		build, installer, system string // "" for what works
		code                     Code
		says, now                string
		installed                bool // the installer runs
	}{
		"build":        {build: "echo 'error: attribute x missing' >&2; exit 1", code: CodeFailed, says: "attribute x missing", now: "as it was"},
		"first login":  {installer: "echo '### Uploading install SSH keys ###'; exit 7", code: CodeFailed, says: "exit code 7", now: "as it was"},
		"kexec":        {installer: "echo '### Switching system into kexec ###'; echo 'curl: (6) Could not resolve host: github.com'; exit 1", code: CodeFailed, says: "Could not resolve host", now: "as it was"},
		"second login": {system: "echo '### Uploading install SSH keys ###'; exit 7", code: CodeFailed, says: "exit code 7", now: "a restart brings the old system back", installed: true},
		"disko":        {system: "echo '### Formatting hard drive with disko ###'; exit 7", code: CodeUnknown, says: "exit code 7", now: "must not be restarted", installed: true},
		"keys":         {system: "echo '### Copying extra files ###'; exit 255", code: CodeUnknown, says: "connection to the server was lost", now: "may hold the age key", installed: true},
		"install":      {system: "echo '### Installing NixOS ###'; exit 9", code: CodeUnknown, says: "exit code 9", now: "not complete", installed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := filepath.Join(t.TempDir(), "seen")
			c := newCandidate(t, "")
			c.stages(cmp.Or(tc.build, built), fmt.Sprintf("cp %q %q; ", c.server.Path("root/.ssh/authorized_keys"), seen)+cmp.Or(tc.installer, c.kexec()), cmp.Or(tc.system, "exit 1"))

			f := failure(t, c.bootstrap(), tc.code, tc.says, "bootstrap")

			assert.Contains(t, f.Now, tc.now)
			keys := c.server.ReadFile("root/.ssh/authorized_keys")
			assert.Equal(t, tc.installed, strings.Contains(keys, "vps-install-"))
			if tc.build == "" {
				during, err := os.ReadFile(seen)
				require.NoError(t, err)
				assert.Contains(t, string(during), "vps-install-", "the control: it was there")
				assert.Contains(t, string(during), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c.server.ClientKey().PublicKey()))), "the person's own key")
			}
			if tc.installed {
				assert.Contains(t, f.NextStep().String(), "to look yourself: ssh -p ")
			}
			path := bootstrap.RecordPath(c.Dir, c.hosts["web"])
			for _, secret := range []string{path, strings.TrimSuffix(path, ".json") + ".key"} {
				info, err := os.Stat(secret)
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			}
			logs, err := filepath.Glob(filepath.Join(c.Dir, ".vps/logs/*"))
			require.NoError(t, err)
			require.Len(t, logs, 1)
			info, err := os.Stat(logs[0])
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			log, err := os.ReadFile(logs[0])
			require.NoError(t, err)
			assert.Contains(t, string(log), "vps: ended here: ", "why it ended is kept, too")
		})
	}
}

// disk-names-swap: a volume has the name of the disk that somebody agreed to erase,
// once the installer runs.
func TestBootstrapStopsWhenDisksSwapTheirNames(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "")
	c.put("disks", oneDisk+"NAME=\"sdb\" SIZE=\"100000000000\" MODEL=\"Volume\" SERIAL=\"vol-1\"\n")
	swap := fmt.Sprintf("sed 's/sda/sdc/; s/sdb/sda/; s/sdc/sdb/' %[1]q >%[1]q.new; mv %[1]q.new %[1]q; ", c.server.Path("disks"))
	c.stages(built, swap+c.kexec(), "exit 1")

	f := failure(t, c.bootstrap(), CodeFailed, "/dev/sda is another disk in the installer", "/dev/disk/by-id")

	assert.Contains(t, f.Error(), `it was 40.0 GB, "QEMU", serial "root-1", and it is 100.0 GB, "Volume", serial "vol-1"; the one that was agreed to is /dev/sdb there`)
	assert.Contains(t, f.Now, "its disk is untouched")
	calls, err := os.ReadFile(c.calls)
	require.NoError(t, err)
	assert.NotContains(t, string(calls), "--phases disko", "nothing that formats was started")

	// Nor does the next run, which meets the installer, forget what was agreed to.
	failure(t, c.bootstrap(), CodeFailed, "/dev/sda is another disk", "bootstrap")
}

// A key that contradicts the given one, or one that was verified before, stops
// everything: nothing is asked, and nothing is sent.
func TestBootstrapStopsAtAnotherHostKey(t *testing.T) {
	t.Parallel()
	other := stranger(t)
	record := func(c *candidate) {
		path := bootstrap.RecordPath(c.Dir, c.hosts["web"])
		require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(c.t, os.WriteFile(path, fmt.Appendf(nil, `{"phase":"formatting the disk","hostKey":%q,"oldKeys":[%[1]q]}`, strings.TrimSpace(other)), 0o600))
	}
	for name, tc := range map[string]struct {
		change func(*candidate)
		says   string
	}{
		"given":          {func(c *candidate) { c.o.HostKey = "SHA256:" + strings.Repeat("A", 43) }, "-hostkey has SHA256:AAAA"},
		"given, typing":  {func(c *candidate) { c.typing("web\n"); c.o.HostKey = "SHA256:" + strings.Repeat("A", 43) }, "-hostkey has SHA256:AAAA"},
		"of the record":  {func(c *candidate) { c.o.HostKey = ""; record(c) }, "another host key than the one that was verified when its install began"},
		"record, typing": {func(c *candidate) { c.o.HostKey = ""; record(c); c.typing("web\n") }, "another host key than the one that was verified"},
		"of vps.yaml": {func(c *candidate) {
			c.o.HostKey = ""
			h := c.hosts["web"]
			h.HostKey = strings.TrimSpace(other)
			c.hosts["web"] = h
		}, "is not the known one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCandidate(t, "exit 1")
			tc.change(c)
			f := failure(t, c.bootstrap(), CodeFailed, tc.says, "-hostkey=")
			assert.Contains(t, f.Error(), ssh.FingerprintSHA256(c.server.HostKey()))
			assert.False(t, c.ran())
			assert.NotContains(t, c.server.ReadFile("root/.ssh/authorized_keys"), "vps-install")
		})
	}
}

// The given fingerprint may be of another type than the one that is negotiated.
func TestBootstrapTakesAGivenKeyOfAnyType(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	second, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	_, first, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(first)
	require.NoError(t, err)
	c := newCandidate(t, "echo 'aborted: enough' >&2; exit 3", vpstest.WithHostKey(signer, second))
	c.o.HostKey = ssh.FingerprintSHA256(second.PublicKey())
	failure(t, c.bootstrap(), CodeFailed, "enough", "bootstrap")
}

// Somebody else's install, seen by what it left running on the server, goes on.
func TestBootstrapLeavesTheInstallOfAnotherProjectAlone(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "exit 1")
	c.put("proc/77/environ", "PATH=/bin\x00VPS_INSTALL=otherproject/run/bob@desk/76/\x00")
	c.put("proc/77/cmdline", "/nix/store/x-disko\x00--yes\x00")
	f := failure(t, c.bootstrap(), CodeBusy, "bob@desk is installing this server", "kill 77")
	assert.Contains(t, f.Error(), "x-disko --yes")
	assert.False(t, c.ran())
}

// A container has no way to this machine's loopback, nor through our jump hosts:
// it gets a port that leads there.
func TestBootstrapForwardsAPortToWhatAContainerCannotReach(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, `port=$(echo "$*" | sed -n 's/.*--ssh-port \([0-9]*\).*/\1/p')
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

// Many projects share an engine: of two containers for a host of one name, only that
// of this project is stopped.
func TestBootstrapStopsWhatAnEarlierOneLeftRunning(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "")
	id := filepath.Join(c.Dir, ".vps/id")
	c.engine(strings.Replace(fmt.Sprintf(engineAnswers, "exit 1", "exit 1", "exit 1"), "ps) ;;",
		`ps) case "$*" in *vps.host=web*) printf 'abc123\tvps-old\trunning\t%s\t\t\ndef456\tvps-theirs\trunning\totherproject\t\tbob@desk\n' "$(cat `+id+`)" ;; esac ;;`, 1))
	require.Error(t, c.bootstrap())
	calls, err := os.ReadFile(c.calls)
	require.NoError(t, err)
	stop, run := strings.Index(string(calls), "stop --time 10 abc123"), strings.LastIndex(string(calls), "\nrun ")
	assert.Positive(t, stop)
	assert.Greater(t, run, stop)
	assert.NotContains(t, string(calls), "def456", "another project's goes on")
}

// Another project is at work on this very server, known by its host key.
func TestBootstrapRefusesAServerThatAnotherProjectInstalls(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "")
	c.engine(strings.Replace(fmt.Sprintf(engineAnswers, "exit 1", "exit 1", "exit 1"), "ps) ;;",
		`ps) case "$*" in *vps.server=*) printf 'def456\tvps-theirs\trunning\totherproject\t\tbob@desk\n' ;; esac ;;`, 1))
	f := failure(t, c.bootstrap(), CodeBusy, `bob@desk is installing this server, in the container "vps-theirs"`, "rm --force vps-theirs")
	assert.Contains(t, f.Now, "goes on")
	assert.False(t, c.ran())
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

// A host whose bootstrap stopped half-way does not answer as an installed one would;
// update and status say why, and what to do.
func TestUnfinishedBootstrapIsTold(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "")
	c.stages(built, c.kexec(), "echo '### Formatting hard drive with disko ###'; exit 7")
	require.Error(t, c.bootstrap())

	_, err := c.Update(t.Context(), "web", quick())
	f := failure(t, err, CodeUnreachable, "connect", "mage bootstrap web")
	assert.Contains(t, f.Now, `is not finished: it got as far as "formatting the disk"`)

	status, err := c.Status(t.Context(), "web", 1)
	failure(t, err, CodeUnreachable, "connect", "mage bootstrap web")
	require.Len(t, status, 1)
	assert.True(t, status[0].Unfinished)
}

// A configuration that encrypts a disk reads its key from a file; vps.yaml says which
// secret that is.
func TestBootstrapBringsTheKeysOfEncryptedDisks(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "")
	c.hostsOfNix = edited(ourHosts(), func(h *facts.Host) { h.DiskKeys = []string{"/tmp/disk.key"} })
	c.stages(built, c.kexec(), "echo '### Formatting hard drive with disko ###'; exit 7")
	failure(t, c.bootstrap(), CodeUsage, `reads from "/tmp/disk.key"`, "diskKeys: {/tmp/disk.key: disk-key}")
	assert.False(t, c.ran())

	c.config.Install.DiskKeys = map[string]string{"/tmp/disk.key": "disk-key"}
	c.set("disk-key", "open sesame")
	c.stages(built, c.kexec(), "echo '### Formatting hard drive with disko ###'; exit 7")
	failure(t, c.bootstrap(), CodeUnknown, "exit code 7", "bootstrap")
	calls, err := os.ReadFile(c.calls)
	require.NoError(t, err)
	assert.Contains(t, string(calls), "--disk-encryption-keys /tmp/disk.key /key/disk-0")
	assert.NotContains(t, string(calls), "open sesame")
}

// TestBootstrapGivesAnAgeKeyOfItsOwn: with ageKey: own the private key of this machine
// does not go to the server, and the key that goes there stays nowhere here.
func TestBootstrapGivesAnAgeKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	c := newCandidate(t, "")
	h := c.hosts["web"]
	h.OwnAgeKey = true
	c.hosts["web"] = h
	sent := filepath.Join(t.TempDir(), "sent")
	answers := strings.ReplaceAll(engineAnswers, "cat >/dev/null &", "exec 3<&0; cat >/dev/null &")
	here, err := c.identities(t.Context())
	require.NoError(t, err)
	identity := regexp.MustCompile(`AGE-SECRET-KEY-1[0-9A-Z]+`)
	var given []string
	for range 2 { // the second takes the first one's place
		require.NoError(t, os.WriteFile(sent, nil, 0o600))
		c.engine(fmt.Sprintf(answers, built, c.kexec(), fmt.Sprintf("tee %q <&3 >/dev/null 2>&1 & until grep -q -a AGE-SECRET-KEY %q; do sleep 0.1; done; kill $!; "+
			"echo '### Formatting hard drive with disko ###'; exit 7", sent, sent)))
		failure(t, c.bootstrap(), CodeUnknown, "exit code 7", "bootstrap")
		text, err := os.ReadFile(sent)
		require.NoError(t, err)
		keys := identity.FindAllString(string(text), -1)
		require.Len(t, keys, 1)
		require.NotContains(t, string(here.KeyFile()), keys[0], "the key of this machine")
		given = append(given, keys[0])

		own, err := secrets.ParseIdentities([]byte(keys[0]))
		require.NoError(t, err)
		sealed, err := os.ReadFile(filepath.Join(c.Dir, secretsPath))
		require.NoError(t, err)
		report, err := secrets.VerifyBytes(sealed, own)
		require.NoError(t, err)
		assert.ElementsMatch(t, append(here.Recipients(), own.Recipients()...), report.Recipients)
		assert.Contains(t, string(text), own.Recipients()[0], "the tree that is installed has the secrets for it")
		require.NoError(t, filepath.WalkDir(c.Dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			assert.NotContains(t, string(text), keys[0], path)
			return err
		}))
	}
	assert.NotEqual(t, given[0], given[1])
}
