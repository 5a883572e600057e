package e2e_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/e2e/fresh"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The port moves by the configuration alone: vps.yaml has the old one all the time, and
// the confirmation, and the next run, find the new one.
func TestUpdateFollowsThePortOfTheConfiguration(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	before := l.files.Read("vps.yaml")

	l.files.Set("sshPort", 4444)
	r := l.mustUpdate()

	assert.Equal(t, deploy.OutcomeUpdated, r.Outcome)
	l.assertDeployed(s)
	assert.Equal(t, before, l.files.Read("vps.yaml"))
	client, err := login(s, 4444)
	require.NoError(t, err)
	_ = client.Close()
	again := openLaptop(t, l.files)
	assert.Equal(t, deploy.OutcomeNothing, again.mustUpdate().Outcome)
	again.files.Set("sshPort", 2222)
	again.mustUpdate()
	again.assertDeployed(s)
}

// A repository whose flake is at its root is deployed as it is: nothing is moved, and
// what vps keeps there stays on the laptop.
func TestUpdateOfARootLevelFlake(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	files := s.Project()
	entries, err := os.ReadDir(filepath.Join(files.Dir, "nix"))
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Rename(filepath.Join(files.Dir, "nix", e.Name()), filepath.Join(files.Dir, e.Name())))
	}
	files.Remove("nix")
	files.Write("vps.yaml", "nix: .\n"+files.Read("vps.yaml"))
	files.Write("tool/main.go", "package main\n\nfunc main() {}\n")
	l := openLaptop(t, files)

	r := l.mustUpdate()
	assert.Equal(t, deploy.OutcomeUpdated, r.Outcome)
	assert.Equal(t, files.Read("flake.nix"), s.Read("/etc/nixos/flake.nix")+"\n")
	assert.Equal(t, files.Read("tool/main.go"), s.Read("/etc/nixos/tool/main.go")+"\n", "a program that the flake packages")
	assert.Empty(t, s.Exec("cd /etc/nixos && find . -name vps.yaml -o -name .vps -o -name 'age-key*'"), "stay on the laptop")

	files.Write("settings.json", replaceOne(t, files.Read("settings.json"), `"note": ""`, `"note": "changed"`))
	assert.Equal(t, deploy.OutcomeUpdated, l.mustUpdate().Outcome)
	assert.Equal(t, deploy.OutcomeNothing, l.mustUpdate().Outcome)
	l.rebooted(s)
}

// ownKeyFlake has two hosts of one processor: "web" with the usual key file, and "own"
// with one of its own. Both get a secret of a second sops file.
const ownKeyFlake = `{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  outputs = { self, nixpkgs }: let
    sops = import ./modules/sops.nix;
    toy = system: import ./system {
      inherit system;
      settings = builtins.fromJSON (builtins.readFile ./settings.json);
      secrets = sops.sops.secrets // { vault = { }; };
      units = ./units;
      userUnits = ./user-units;
    };
    host = keyFile: let base = toy "SYSTEM"; in base // {
      config = base.config // {
        sops = {
          secrets = builtins.mapAttrs (name: secret: secret // {
            key = name;
            sopsFile = if name == "vault" then ./secrets/vault.yaml else ./secrets/secrets.yaml;
            format = "yaml";
          }) base.config.sops.secrets;
          age = { inherit keyFile; sshKeyPaths = [ ]; };
        };
      };
    };
  in {
    nixosConfigurations.web = host "/var/lib/sops-nix/key.txt";
    nixosConfigurations.own = host "/persist/age.txt";
  };
}
`

// A rotation took the old key off a server that needed it for another sops file, and
// wrote the new one where another host keeps its key. Each host's own files are opened
// here by the sops program, with the key that the host has after a restart.
func TestRotationOfTwoFilesOnAHostWithItsOwnKeyFile(t *testing.T) {
	t.Parallel()
	vault := e2e.WithFile("/var/lib/toy-secrets/vault", "the vault\n")
	web := e2e.Start(t, vault)
	own := e2e.Start(t, vault, e2e.WithFile("/persist/age.txt", web.AgeIdentity+"\n"))
	own.Exec("rm /var/lib/sops-nix/key.txt")
	l := laptopOfTwo(t, web, own)

	found := l.Check(t.Context(), deploy.CheckOptions{Host: "all"})
	for _, name := range []string{"evaluation of own", "evaluation of web", "own: age key", "web: age key", "secrets: declared names in secrets/vault.yaml"} {
		at := slices.IndexFunc(found, func(f deploy.Finding) bool { return f.Name == name })
		require.GreaterOrEqual(t, at, 0, "%s in %v", name, found)
		assert.Equal(t, secrets.Pass, found[at].Status, "%+v", found[at])
	}
	_, err := l.Update(t.Context(), "all", brisk())
	require.NoError(t, err, "%s", l.story)

	require.NoError(t, secrets.Rotate(t.Context(), l.Dir, secrets.RotateOptions{
		Console: silent{}, Hosts: []string{"web", "own"}, Remote: l.RotateHosts(t.Context(), brisk()),
		Accept: []string{fingerprintOf(t, web.HostKey()), fingerprintOf(t, own.HostKey())},
	}), "%s", l.story)

	for path, s := range map[string]*e2e.Server{"/var/lib/sops-nix/key.txt": web, "/persist/age.txt": own} {
		s.Restart()
		keys := strings.Split(strings.TrimSpace(l.files.Read("secrets/age-key.txt")), "\n")
		newest := keys[len(keys)-1]
		assert.NotEqual(t, web.AgeIdentity, newest)
		assert.Contains(t, s.Read(path), newest)
		assert.Contains(t, decrypted(t, s.Read("/etc/nixos/secrets/vault.yaml"), newest), "vault: locked")
		assert.Contains(t, decrypted(t, s.Read("/etc/nixos/secrets/secrets.yaml"), newest), "gateway-token: a token")
		assert.Equal(t, "the vault", s.Read("/run/secrets/vault"))
		_, err := login(s, 2222)
		assert.NoError(t, err)
	}
	assert.Empty(t, own.Exec("ls /var/lib/sops-nix"), "another host's place for its key")
}

// laptopOfTwo has two servers in its vps.yaml, and two sops files.
func laptopOfTwo(t *testing.T, web, own *e2e.Server) *laptop {
	t.Helper()
	files := web.Project()
	system := map[string]string{"vps-x86": "x86_64-linux", "vps-arm": "aarch64-linux"}[e2e.Output()]
	files.Write("nix/flake.nix", replaceOne(t, ownKeyFlake, "SYSTEM", system))
	files.Hosts(web.Host("web"), own.Host("own"))
	hosts := strings.Replace(files.Read("vps.yaml"), "flake: "+e2e.Output(), "flake: web", 1)
	files.Write("vps.yaml", "install: {image: '"+fresh.NixImage(t)+"'}\n"+replaceOne(t, hosts, "flake: "+e2e.Output(), "flake: own"))
	rules := files.Read(".sops.yaml")
	files.Write(".sops.yaml", replaceOne(t, rules, `^secrets/secrets\.yaml$`, `^secrets/.*\.yaml$`))
	files.Write("secrets/vault.yaml", "vault: locked\n")
	sops := exec.Command("sops", "encrypt", "--in-place", "secrets/vault.yaml")
	sops.Dir = files.Dir
	out, err := sops.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return openLaptop(t, files)
}

// decrypted is what the sops program makes of a file with one key.
func decrypted(t *testing.T, text, identity string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "of-the-server.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text+"\n"), 0o600))
	sops := exec.Command("sops", "decrypt", file)
	sops.Env = append(os.Environ(), "SOPS_AGE_KEY="+identity)
	out, err := sops.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// silent is a console with nobody at it.
type silent struct{}

func (silent) Interactive() bool                                 { return false }
func (silent) Say(string, ...any)                                {}
func (silent) Ask(context.Context, string) (string, error)       { return "", io.EOF }
func (silent) AskHidden(context.Context, string) (string, error) { return "", io.EOF }
