package facts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// files is a tree in memory.
type files map[string]string

func (f files) read(path string) ([]byte, bool) {
	data, ok := f[path]
	return []byte(data), ok
}

func ourFiles(t testing.TB) files {
	t.Helper()
	f := files{}
	root := "../../../nix"
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		name, relErr := filepath.Rel(root, path)
		f[filepath.ToSlash(name)] = string(data)
		return errors.Join(err, relErr)
	}))
	return f
}

var ourSecrets = []Declared{
	{Name: "gateway-token", Key: "gateway-token", Path: "/run/secrets/gateway-token", Owner: "openclaw", Mode: "0400"},
	{Name: "ssh-public-key", Key: "ssh-public-key", Path: "/run/secrets-for-users/ssh-public-key", Owner: "root", Mode: "0444", NeededForUsers: true},
}

func TestReadFlakeFilesReadsOurs(t *testing.T) {
	t.Parallel()
	facts, err := ReadFlakeFiles(ourFiles(t).read)
	require.NoError(t, err)
	assert.Equal(t, []string{"vps-arm", "vps-x86"}, facts.Outputs)
	assert.Equal(t, ourSecrets, facts.Secrets)
	assert.Equal(t, 2222, facts.SSHPort)
	assert.Equal(t, "/dev/sda", facts.Disk)
	assert.Equal(t, "/var/lib/sops-nix/key.txt", facts.AgeKeyFile)
	assert.Equal(t, SourceRead, facts.Source)
	assert.Equal(t, facts.Host("vps-x86"), facts.Host("vps-arm"))
}

func TestReadFlakeFilesReadsTheTestsToyNixOS(t *testing.T) {
	t.Parallel()
	facts, err := ReadFlake(t.Context(), "../../../testdata/e2e/flake", nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"vps-arm", "vps-x86"}, facts.Outputs)
	assert.Equal(t, ourSecrets, facts.Secrets)
	assert.Zero(t, facts.SSHPort, "it has no sshd")
	assert.Empty(t, facts.Disk)
}

// Each change is one line that the README tells users to touch.
func TestReadFlakeFilesFollowsWhatUsersChange(t *testing.T) {
	t.Parallel()
	const host = `        # A host of your own`
	cases := map[string]struct {
		file, old, new string
		output         string
		want           HostFacts
	}{
		"port": {
			"modules/security.nix", "default = 2222;", "default = 2022;", "vps-x86",
			HostFacts{SSHPort: 2022, Disks: []string{"/dev/sda"}},
		},
		"disk": {
			"modules/disk.nix", `default = "/dev/sda";`, `default = "/dev/vda";`, "vps-arm",
			HostFacts{SSHPort: 2222, Disks: []string{"/dev/vda"}},
		},
		"a host of its own": {
			"flake.nix", host,
			`web-1 = { system = "x86_64-linux"; modules = [ { vps.disk = "/dev/nvme0n1"; vps.sshPort = 22; } ./modules/web.nix ]; };` + host, "web-1",
			HostFacts{SSHPort: 22, Disks: []string{"/dev/nvme0n1"}},
		},
		"the same, spelt out": {
			"flake.nix", host,
			`web-1.system = "x86_64-linux"; web-1.modules = [ ({ lib, ... }: { vps.sshPort = lib.mkForce 22; }) ];` + host, "web-1",
			HostFacts{SSHPort: 22, Disks: []string{"/dev/sda"}},
		},
		"a literal port": {
			"modules/security.nix", "[ config.vps.sshPort ];", "[ 443 2222 ];", "vps-x86",
			HostFacts{SSHPort: 443, Disks: []string{"/dev/sda"}},
		},
		"no port": {
			"modules/security.nix", "ports = [ config.vps.sshPort ];", "", "vps-x86",
			HostFacts{SSHPort: 22, Disks: []string{"/dev/sda"}},
		},
		"unrelated conditions": {
			"modules/security.nix", "config = {", "config = { services = lib.mkIf true { nginx.enable = true; };", "vps-x86",
			HostFacts{SSHPort: 2222, Disks: []string{"/dev/sda"}},
		},
		"a name bound by let": {
			"modules/sops.nix", "{\n  sops = {", "let sshd = 22; in {\n  services.openssh.ports = lib.mkForce [ sshd ];\n  sops = {", "vps-x86",
			HostFacts{SSHPort: 22, Disks: []string{"/dev/sda"}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := ourFiles(t)
			tree["modules/web.nix"] = `{ pkgs, ... }: { services.nginx.enable = true; }`
			require.Contains(t, tree[c.file], c.old)
			tree[c.file] = strings.Replace(tree[c.file], c.old, c.new, 1)
			facts, err := ReadFlakeFiles(tree.read)
			require.NoError(t, err)
			c.want.Secrets, c.want.AgeKeyFile = ourSecrets, "/var/lib/sops-nix/key.txt"
			assert.Equal(t, c.want, facts.Host(c.output))
		})
	}
}

func TestReadFlakeFilesReadsSecretsInAllTheirForms(t *testing.T) {
	t.Parallel()
	const declare = "    secrets = {"
	cases := map[string]struct {
		declaration string
		want        Declared
	}{
		"bare":      {`db = { };`, Declared{Name: "db", Key: "db", Path: "/run/secrets/db", Owner: "root", Mode: "0400"}},
		"nested":    {`"db/password".owner = "db";`, Declared{Name: "db/password", Key: "db/password", Path: "/run/secrets/db/password", Owner: "db", Mode: "0400"}},
		"own path":  {`db.path = "/etc/db";`, Declared{Name: "db", Key: "db", Path: "/etc/db", Owner: "root", Mode: "0400"}},
		"own key":   {`db.key = "web/db";`, Declared{Name: "db", Key: "web/db", Path: "/run/secrets/db", Owner: "root", Mode: "0400"}},
		"user":      {`db.owner = config.users.users.db.name;`, Declared{Name: "db", Key: "db", Path: "/run/secrets/db", Owner: "db", Mode: "0400"}},
		"own file":  {`db.sopsFile = ./db.yaml;`, Declared{Name: "db", Key: "db", Path: "/run/secrets/db", Owner: "root", Mode: "0400", OtherFile: true}},
		"overruled": {`db = { mode = lib.mkDefault "0444"; mode = lib.mkForce "0440"; };`, Declared{Name: "db", Key: "db", Path: "/run/secrets/db", Owner: "root", Mode: "0440"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := ourFiles(t)
			tree["modules/sops.nix"] = strings.Replace(tree["modules/sops.nix"], declare, declare+c.declaration, 1)
			facts, err := ReadFlakeFiles(tree.read)
			require.NoError(t, err)
			assert.Equal(t, append([]Declared{c.want}, ourSecrets...), facts.Secrets)
		})
	}
}

// What decides a fact but is not plain must be refused: a wrong port locks the
// user out of the confirmation, a wrong disk erases another.
func TestReadFlakeFilesRefusesToGuess(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ file, old, new, want string }{
		"condition":    {"modules/disk.nix", `default = "/dev/sda";`, `default = if true then "/dev/sda" else "/dev/sdb";`, "modules/disk.nix:10: vps.disk is not a plain value"},
		"text with ${": {"modules/disk.nix", `"/dev/sda"`, `"/dev/${config.letter}"`, "vps.disk is not a plain value"},
		"covered":      {"modules/security.nix", "config = {", "config = { services = lib.mkIf x { openssh.ports = [ 22 ]; };", "services is computed, and may define services.openssh"},
		"merged":       {"modules/sops.nix", "    secrets = {", "    secrets = other // {", "sops.secrets is computed"},
		"generated":    {"modules/sops.nix", "    secrets = {", "    secrets.${x}.mode = \"0400\"; secrets = {", "name that is computed"},
		"twice":        {"modules/system.nix", "  config = {", "  config = { services.openssh.ports = [ 22 ]; vps.disk = \"/dev/a\"; disko.devices.disk.main.device = \"/dev/b\";", "disko.devices.disk.main.device is defined again"},
		"itself":       {"modules/disk.nix", `"/dev/sda"`, "config.vps.disk", "vps.disk refers to itself"},
		"no port":      {"modules/security.nix", "2222", "222222", "is 222222, which is no port"},
		"not there":    {"flake.nix", "./modules/disk.nix", "./modules/disks.nix", "it names ./modules/disks.nix, which the tree does not have"},
		"outside":      {"flake.nix", "./modules/disk.nix", "../disk.nix", "../disk.nix lies outside of the tree"},
		"circle":       {"modules/sops.nix", "{\n  sops = {", "{ imports = [ ./sops.nix ];\n sops = {", "import one another in a circle"},
		"hosts":        {"flake.nix", "builtins.mapAttrs mkHost hosts;", "builtins.listToAttrs hosts;", ": nixosConfigurations is neither"},
		"no hosts":     {"flake.nix", "nixosConfigurations = ", "others = ", "no nixosConfigurations"},
		"broken":       {"modules/sops.nix", "    secrets = {", "    secrets = {{", "modules/sops.nix:"},
		"cut off":      {"modules/sops.nix", "/var/lib/sops-nix/key.txt\";", "", "modules/sops.nix:"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := ourFiles(t)
			require.Contains(t, tree[c.file], c.old)
			tree[c.file] = strings.Replace(tree[c.file], c.old, c.new, 1)
			_, err := ReadFlakeFiles(tree.read)
			require.ErrorContains(t, err, c.want)
			var at *FlakeError
			require.ErrorAs(t, err, &at)
			assert.NotEmpty(t, at.NextStep().String())
		})
	}
	_, err := ReadFlakeFiles(files{}.read)
	assert.EqualError(t, err, "flake.nix: the tree has no such file")
}

// fakeNix is an Evaluator that answers without Nix.
type fakeNix struct {
	args []string
	out  string
	err  error
}

func (f *fakeNix) Eval(_ context.Context, args ...string) ([]byte, error) {
	f.args = args
	return []byte(f.out), f.err
}

func TestReadFlakeEvaluates(t *testing.T) {
	t.Parallel()
	nix := &fakeNix{out: `{
		"b": {"ports": [22], "disks": ["/dev/vdb", "/dev/vda"], "keyFile": "/k", "secrets": [
			{"name": "z", "key": "z", "path": "/run/secrets/z", "owner": null, "mode": "0400", "neededForUsers": false, "otherFile": false}]},
		"a": {"ports": [], "disks": [], "keyFile": null, "secrets": []}}`}
	facts, err := ReadFlake(t.Context(), "/work", nix, "a", "b")
	require.NoError(t, err)
	assert.Equal(t, []string{"--json", "--no-write-lock-file", "path:/work#nixosConfigurations", "--apply"}, nix.args[:4])
	assert.Contains(t, nix.args[4], `[ "a" "b" ]`)
	assert.Equal(t, []string{"a", "b"}, facts.Outputs)
	assert.Equal(t, 22, facts.SSHPort)
	assert.Equal(t, "/dev/vda", facts.Disk)
	assert.Equal(t, []Declared{{Name: "z", Key: "z", Path: "/run/secrets/z", Owner: "root", Mode: "0400"}}, facts.Secrets)
	assert.Equal(t, SourceEvaluated, facts.Source)
	assert.Zero(t, facts.Host("a").SSHPort)
}

func TestReadFlakeSaysWhenNixFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("attribute missing")
	_, err := ReadFlake(t.Context(), "/work", &fakeNix{err: broken})
	require.ErrorIs(t, err, broken)
	_, err = ReadFlake(t.Context(), "/work", &fakeNix{out: "<html>"})
	require.ErrorContains(t, err, "something else than asked for")
}

// A longer path names the same host; its parts must not be taken for hosts.
func TestHostsThatAreNamedByLongerPaths(t *testing.T) {
	t.Parallel()
	tree := files{"flake.nix": `{
		outputs = { nixpkgs, ... }: {
			nixosConfigurations.web.system = "x86_64-linux";
			nixosConfigurations.web.modules = [ { services.openssh.ports = [ 2222 ]; } ];
			nixosConfigurations.db = nixpkgs.lib.nixosSystem { modules = [ ]; };
		};
	}`}
	facts, err := ReadFlakeFiles(tree.read)
	require.NoError(t, err)
	assert.Equal(t, []string{"db", "web"}, facts.Outputs)
}

func TestNixStringQuotes(t *testing.T) {
	t.Parallel()
	assert.Equal(t, `"a\"\${b}\\"`, nixString(`a"${b}\`))
}

func ExampleReadFlakeFiles() {
	tree := files{"flake.nix": `{
		outputs = { nixpkgs, ... }: {
			nixosConfigurations.web = nixpkgs.lib.nixosSystem {
				modules = [ { services.openssh.ports = [ 2222 ]; } ];
			};
		};
	}`}
	facts, err := ReadFlakeFiles(tree.read)
	if err != nil {
		panic(err)
	}
	fmt.Println(facts.Outputs[0], facts.SSHPort)
	// Output: web 2222
}
