package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const fullFile = `# our servers
nix: infra/nix
hosts:
  web-1:
    address: 203.0.113.10
    port: 2200
    user: admin
    identity: ~/.ssh/id_ed25519
    system: x86
    flake: vps-x86
    tags: [prod, web]
    hostKey: ` + keyA + ` root@web-1
  db-1:
install:
  image: nixos/nix:2.32.1
  engine: podman
  network: host
  kexec:
    url: https://example.org/kexec.tar.gz
    sha256: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  deadlines:
    build: 90m
    reboot: 1m30s
`

func TestParseReadsEveryKey(t *testing.T) {
	t.Parallel()
	cfg, err := Parse("vps.yaml", []byte(fullFile))
	require.NoError(t, err)
	assert.Equal(t, []HostEntry{
		{Name: "web-1", Address: "203.0.113.10", Port: 2200, User: "admin", Identity: "~/.ssh/id_ed25519",
			System: "x86", Flake: "vps-x86", Tags: []string{"prod", "web"}, HostKey: keyA, Line: 4},
		{Name: "db-1", Line: 13},
	}, cfg.Hosts)
	assert.Equal(t, Install{
		Image:     "nixos/nix:2.32.1",
		Engine:    "podman",
		Network:   "host",
		Kexec:     &Kexec{URL: "https://example.org/kexec.tar.gz", SHA256: strings.Repeat("a", 64)},
		Deadlines: map[string]time.Duration{"build": 90 * time.Minute, "reboot": 90 * time.Second},
	}, cfg.Install)
	assert.Equal(t, "infra/nix", cfg.Nix)
	assert.Equal(t, []string{"web-1", "db-1"}, cfg.Names())
	assert.Equal(t, []string{"prod", "web"}, cfg.Tags())
}

// What is deployed lies in the project, and is no secret.
func TestParseNixFolder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"nix: .": ".", "nix: nixos": "nixos", "nix: a/b": "a/b", "hosts:": "nix"} {
		cfg, err := Parse("vps.yaml", []byte(text))
		require.NoError(t, err, text)
		assert.Equal(t, want, cfg.Nix, text)
	}
	for _, text := range []string{"nix: /etc/nixos", "nix: ../other", "nix: a/../b", "nix: ./nix", "nix: nix/", "nix: .git", "nix: .vps/x", "nix: secrets", "nix: [a]"} {
		_, err := Parse("vps.yaml", []byte(text))
		assert.Error(t, err, text)
	}
}

func TestParseGivesDefaults(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":         "",
		"only comments": "# nothing\n\n",
		"null":          "~\n",
		"empty mapping": "{}\n",
		"null sections": "hosts:\ninstall:\n",
		"byte mark":     "\ufeffhosts: {}\n",
		"marker":        "---\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := Parse("vps.yaml", []byte(text))
			require.NoError(t, err)
			assert.Empty(t, cfg.Hosts)
			assert.Equal(t, Install{Image: DefaultImage, Engine: "docker"}, cfg.Install)
		})
	}
}

func TestDefaultImageIsAllowed(t *testing.T) {
	t.Parallel()
	assert.NoError(t, checkImage(DefaultImage))
	assert.Contains(t, DefaultImage, ":", "pinned")
}

// badFiles are single mistakes, each with the whole message.
var badFiles = map[string]struct{ text, want string }{
	"unknown key":         {"host:\n", `v:1: unknown key "host"; did you mean "hosts"?`},
	"unknown host key":    {"hosts:\n  a:\n    adress: x.y\n", `v:3: a: unknown key "adress"; did you mean "address"?`},
	"unknown, far":        {"install:\n  colour: red\n", `v:2: install: unknown key "colour"; known keys: deadlines, diskKeys, engine, image, kexec, network`},
	"case of a key":       {"hosts:\n  a:\n    hostkey: x\n", `v:3: a: unknown key "hostkey"; did you mean "hostKey"?`},
	"duplicate key":       {"hosts: {}\nhosts: {}\n", `v:2: duplicate "hosts", first on line 1`},
	"duplicate host":      {"hosts:\n  a:\n  b:\n  a:\n", `v:4: hosts: duplicate "a", first on line 2`},
	"duplicate field":     {"hosts:\n  a:\n    port: 1\n    port: 1\n", `v:4: a: duplicate "port", first on line 3`},
	"duplicate tag":       {"hosts:\n  a:\n    tags:\n    - x\n    - x\n", `v:5: a.tags: duplicate "x"`},
	"duplicate address":   {"hosts:\n  a: {address: Web.example}\n  b: {address: web.example.}\n", `v:3: b: the same address and port as "a" on line 2: "web.example."`},
	"duplicate IPv6":      {"hosts:\n  a: {address: '2001:db8::1'}\n  b: {address: '2001:DB8:0::1'}\n", `v:3: b: the same address and port as "a" on line 2: "2001:DB8:0::1"`},
	"hosts is a list":     {"hosts:\n- a\n", `v:2: hosts: must be a mapping of keys to values, not a list`},
	"host is text":        {"hosts:\n  a: 203.0.113.1\n", `v:2: a: must be a mapping of keys to values, not text`},
	"root is text":        {"hello\n", `v:1: must be a mapping of keys to values, not text`},
	"address is a number": {"hosts:\n  a:\n    address: 10.5\n", `v:3: a.address: must be text, but YAML reads "10.5" as a number; put it in quotes`},
	"address empty":       {"hosts:\n  a:\n    address:\n", `v:3: a.address: empty; give it a value or remove the line`},
	"address blank":       {"hosts:\n  a:\n    address: ''\n", `v:3: a.address: empty; give it a value or remove the line`},
	"address is a list":   {"hosts:\n  a:\n    address: [x]\n", `v:3: a.address: must be text, not a list`},
	"address with port":   {"hosts:\n  a:\n    address: x.y:22\n", `v:3: a.address: "x.y:22": write the port as its own key`},
	"address with user":   {"hosts:\n  a:\n    address: me@x.y\n", `v:3: a.address: "me@x.y": write the user as its own key`},
	"address in brackets": {"hosts:\n  a:\n    address: '[::1]'\n", `v:3: a.address: "[::1]": write an IPv6 address without brackets, and the port as its own key`},
	"address as option":   {"hosts:\n  a:\n    address: -oProxyCommand=x\n", `v:3: a.address: "-oProxyCommand=x" is neither a host name nor an IP address`},
	"address mistyped":    {"hosts:\n  a:\n    address: 203.0.113.256\n", `v:3: a.address: "203.0.113.256" is not an IPv4 address (four numbers from 0 to 255)`},
	"port zero":           {"hosts:\n  a:\n    port: 0\n", `v:3: a.port: "0" is not a port (1 to 65535)`},
	"port high":           {"hosts:\n  a:\n    port: 65536\n", `v:3: a.port: "65536" is not a port (1 to 65535)`},
	"port negative":       {"hosts:\n  a:\n    port: -1\n", `v:3: a.port: "-1" is not a port (1 to 65535)`},
	"port hexadecimal":    {"hosts:\n  a:\n    port: 0x16\n", `v:3: a.port: "0x16" is not a port (1 to 65535)`},
	"port is text":        {"hosts:\n  a:\n    port: '22'\n", `v:3: a.port: must be a number from 1 to 65535, not text "22"`},
	"user as option":      {"hosts:\n  a:\n    user: -l\n", `v:3: a.user: "-l" is not a user name`},
	"user with blank":     {"hosts:\n  a:\n    user: a b\n", `v:3: a.user: "a b" is not a user name`},
	"identity, two lines": {"hosts:\n  a:\n    identity: \"a\\nb\"\n", `v:3: a.identity: "a\nb" contains a control character or line break`},
	"system":              {"hosts:\n  a:\n    system: x86_64\n", `v:3: a.system: "x86_64" is not one of x86, arm`},
	"age key":             {"hosts:\n  a:\n    ageKey: mine\n", `v:3: a.ageKey: "mine" is not one of own, shared`},
	"flake with hash":     {"hosts:\n  a:\n    flake: '.#vps'\n", `v:3: a.flake: ".#vps": name the output only, the part after '#'`},
	"tags is text":        {"hosts:\n  a:\n    tags: prod\n", `v:3: a.tags: must be a list such as [prod, web], not text "prod"`},
	"tag with at":         {"hosts:\n  a:\n    tags: ['@prod']\n", `v:3: a.tags: "@prod" cannot be a tag: letters, digits, '.', '_' and '-' only, beginning with a letter or digit`},
	"tag is boolean":      {"hosts:\n  a:\n    tags: [true]\n", `v:3: a.tags: must be text, but YAML reads "true" as true or false; put it in quotes`},
	"host key":            {"hosts:\n  a:\n    hostKey: SHA256:abc\n", `v:3: a.hostKey: "SHA256:abc" is not a public key such as "ssh-ed25519 AAAA…"`},
	"host key cut short":  {"hosts:\n  a:\n    hostKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\n", `v:3: a.hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5" is not a public key such as "ssh-ed25519 AAAA…"`},
	"two host keys":       {"hosts:\n  a:\n    hostKey: \"" + keyA + "\\n" + keyB + "\"\n", `v:3: a.hostKey: must be one line: type and base64 text`},
	"name all":            {"hosts:\n  all:\n", `v:2: hosts: "all" cannot be a name: it selects every host`},
	"name with at":        {"hosts:\n  a@b:\n", `v:2: hosts: "a@b" cannot be a name: letters, digits, '.', '_' and '-' only, at most 63, beginning with a letter or digit`},
	"name as option":      {"hosts:\n  -a:\n", `v:2: hosts: "-a" cannot be a name: letters, digits, '.', '_' and '-' only, at most 63, beginning with a letter or digit`},
	"name climbs":         {"hosts:\n  ../a:\n", `v:2: hosts: "../a" cannot be a name: letters, digits, '.', '_' and '-' only, at most 63, beginning with a letter or digit`},
	"name is a number":    {"hosts:\n  12:\n", `v:2: hosts: key must be text, not a number; put it in quotes`},
	"name is an address":  {"hosts:\n  10.0.0.1:\n    address: 10.0.0.2\n", `v:2: hosts: the name "10.0.0.1" is the address of another machine than "10.0.0.2"`},
	"engine":              {"install:\n  engine: lxc\n", `v:2: install.engine: "lxc" is not one of docker, podman`},
	"network as option":   {"install:\n  network: --privileged\n", `v:2: install.network: "--privileged" is not the name of a container network`},
	"network none":        {"install:\n  network: none\n", `v:2: install.network: a container without a network reaches no server`},
	"image too old":       {"install:\n  image: nixos/nix:2.29.1\n", `v:2: install.image: "nixos/nix:2.29.1" is too old: the installer needs Nix 2.30 or newer`},
	"image digest short":  {"install:\n  image: nixos/nix@sha256:abc\n", `v:2: install.image: "nixos/nix@sha256:abc": a digest is sha256: and 64 hexadecimal digits`},
	"image as option":     {"install:\n  image: --privileged\n", `v:2: install.image: "--privileged" is not the name of a container image`},
	"kexec without sum":   {"install:\n  kexec:\n    url: https://x.y/z\n", `v:3: install.kexec: needs both url and sha256: what a server boots is never taken unchecked`},
	"kexec by file":       {"install:\n  kexec:\n    url: file:///z\n", `v:3: install.kexec.url: "file:///z" is not an http or https URL`},
	"kexec with password": {"install:\n  kexec:\n    url: https://me:pw@x.y/z\n", `v:3: install.kexec.url: a URL with a password would end in logs; put the image where none is needed`},
	"kexec sum":           {"install:\n  kexec:\n    sha256: abc\n", `v:3: install.kexec.sha256: "abc" is not 64 hexadecimal digits`},
	"deadline no unit":    {"install:\n  deadlines:\n    build: 90\n", `v:3: install.deadlines.build: must be a duration above zero such as 90s or 20m, not "90"`},
	"deadline zero":       {"install:\n  deadlines:\n    build: 0s\n", `v:3: install.deadlines.build: must be a duration above zero such as 90s or 20m, not "0s"`},
	"deadline list":       {"install:\n  deadlines:\n    build: [1s]\n", `v:3: install.deadlines.build: must be a duration above zero such as 90s or 20m, not a list`},
	"two documents":       {"hosts: {}\n---\nhosts: {}\n", `v:2: a second document; one file holds one document`},
	"syntax":              {"hosts:\n  a: b: c\n", `v:2: not valid YAML: mapping values are not allowed in this context`},
	"tab":                 {"hosts:\n\ta:\n", `v:2: not valid YAML: found character that cannot start any token`},
	"unknown alias":       {"hosts:\n  a: *b\n", `v:2: not valid YAML: unknown anchor 'b' referenced`},
	"not UTF-8":           {"hosts:\n  a:\n    user: \xff\n", `v:3: not UTF-8 text: byte 0xff`},
	"UTF-16":              {"\xff\xfeh\x00", `v:1: not UTF-8 text: byte 0xff`},
	"control character":   {"hosts:\n  a:\n    user: \x1b[31m\n", `v:3: control character '\x1b'`},
	"merges itself":       {"hosts: &h\n  <<: *h\n", `v:1: hosts: a merge key (<<) that contains itself`},
	"too long":            {"#" + strings.Repeat(" ", maxFileSize), `v: larger than 1048576 bytes`},
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range badFiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := Parse("v", []byte(tc.text))
			require.Error(t, err)
			assert.Nil(t, cfg)
			assert.Equal(t, tc.want, err.Error())
			assert.Contains(t, hint(t, err), "correct v")
		})
	}
}

func TestParseReportsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := Parse("vps.yaml", []byte("hosts:\n  a:\n    port: x\n    usr: me\n  all:\ninstall:\n  engine: lxc\n"))
	var first *ParseError
	require.ErrorAs(t, err, &first)
	assert.Equal(t, &ParseError{File: "vps.yaml", Line: 3, Problem: `a.port: must be a number from 1 to 65535, not text "x"`}, first)
	assert.Equal(t, []string{"vps.yaml:3", "vps.yaml:4", "vps.yaml:5", "vps.yaml:7"}, places(err))
}

// places are the file:line beginnings of a joined error's lines.
func places(err error) []string {
	var list []string
	for line := range strings.Lines(err.Error()) {
		at, _, _ := strings.Cut(line, ": ")
		list = append(list, at)
	}
	return list
}

func TestParseFollowsAnchorsAndMergeKeys(t *testing.T) {
	t.Parallel()
	cfg, err := Parse("v", []byte(`
hosts:
  a: &base
    address: a.example
    user: admin
    tags: &tags [prod]
  b:
    <<: *base
    address: b.example
    tags: *tags
  c:
    <<: [*base, {port: 24, user: never}]
    address: c.example
`))
	require.NoError(t, err)
	b, c := cfg.Lookup("b"), cfg.Lookup("c")
	assert.Equal(t, HostEntry{Name: "b", Address: "b.example", User: "admin", Tags: []string{"prod"}, Line: 7}, *b)
	assert.Equal(t, HostEntry{Name: "c", Address: "c.example", User: "admin", Port: 24, Tags: []string{"prod"}, Line: 11}, *c)
}

// Keeps away: a file of a kilobyte that keeps the machine busy for hours.
func TestParseBoundsAliases(t *testing.T) {
	t.Parallel()
	var laughs strings.Builder
	laughs.WriteString("hosts:\n  h0: &h0 {user: a, tags: [x]}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&laughs, "  h%d: &h%d {<<: [*h%d, *h%d, *h%d, *h%d]}\n", i, i, i-1, i-1, i-1, i-1)
	}
	start := time.Now()
	_, err := Parse("v", []byte(laughs.String()))
	assert.ErrorContains(t, err, "too large when its aliases are followed")
	assert.Less(t, time.Since(start), 10*time.Second)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	t.Run("missing is the default", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		cfg, err := Load(dir)
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(dir, FileName), cfg.Path)
		assert.Empty(t, cfg.Hosts)
		assert.Equal(t, DefaultImage, cfg.Install.Image)
	})
	t.Run("read", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		path := write(t, dir, FileName, fullFile)
		cfg, err := Load(dir)
		require.NoError(t, err)
		assert.Equal(t, path, cfg.Path)
		assert.Len(t, cfg.Hosts, 2)
	})
	t.Run("bad names its path", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		path := write(t, dir, FileName, "x:\n")
		_, err := Load(dir)
		assert.ErrorContains(t, err, path+":1: ")
	})
	t.Run("near miss of the name", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, dir, "vps.yml", "hosts:\n")
		_, err := Load(dir)
		assert.ErrorContains(t, err, "the file is called vps.yaml, not vps.yml")
		assert.Contains(t, hint(t, err), "rename")
	})
	t.Run("a folder", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, FileName), 0o700))
		_, err := Load(dir)
		assert.ErrorContains(t, err, "not a regular file")
	})
}
