package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// standIns puts our stand-ins for the flake's inputs into the tree, so that a
// real Nix can evaluate nix/ without a network.
func (f *fixture) standIns() {
	f.t.Helper()
	require.NoError(f.t, os.CopyFS(filepath.Join(f.Dir, "nix/inputs"), os.DirFS(filepath.Join(repository, "testdata/nix-inputs"))))
	path := filepath.Join(f.Dir, "nix/flake.nix")
	data, err := os.ReadFile(path)
	require.NoError(f.t, err)
	github := regexp.MustCompile(`"github:[^/"]+/(nixpkgs|home-manager|disko|sops-nix|nix-openclaw)[^"]*"`)
	text := github.ReplaceAllString(string(data), `"path:/work/inputs/$1"`)
	require.NotEqual(f.t, string(data), text)
	require.NoError(f.t, os.WriteFile(path, []byte(text), 0o644))
	require.NoError(f.t, os.Remove(filepath.Join(f.Dir, "nix/flake.lock")))
}

// A flake with which nothing is wrong, not even when a whole system is evaluated: to
// Nix, a system must be a derivation, which the stand-ins do not make.
func TestE2EEvaluationPasses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.needNix()
	f.remove("nix/flake.lock")
	f.write("flake.nix", `{
  outputs = _: {
    nixosConfigurations.vps-x86.config = {
      system.build.toplevel = derivation { name = "toplevel"; system = "x86_64-linux"; builder = "/bin/sh"; };
      services.openssh.ports = [ 2222 ];
    };
  };
}
`)
	found := f.Check(t.Context(), CheckOptions{})
	for _, name := range []string{"evaluation of vps-x86"} {
		x := find(t, found, name)
		assert.Equal(t, secrets.Pass, x.Status, "%s: %s", name, x.Detail)
	}
}

// A real Nix evaluates the real nix/, and its error is cut to what matters.
func TestE2ECheckWithRealNix(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.needNix()
	f.standIns()
	f.config.Hosts = []config.HostEntry{{Name: "web", System: "x86"}}
	f.hosts["web"] = config.Host{Target: remote.Target{Name: "web", Address: "localhost", Port: 22, User: "root"}}
	f.order = []string{"web"}
	_, err := f.Lock(t.Context(), "")
	require.NoError(t, err, "%s", f.story)

	found := f.Check(t.Context(), CheckOptions{})
	for _, name := range []string{engineFinding, imageFinding, "flake.lock", "evaluation of vps-x86"} {
		x := find(t, found, name)
		assert.Equal(t, secrets.Pass, x.Status, "%s: %s", name, x.Detail)
	}
	assert.Contains(t, find(t, found, "evaluation of vps-x86").Detail, "SSH on port 2222, 2 secrets, disk /dev/sda")

	f.replace("nix/modules/system.nix", "time.timeZone", "time.timeZon = undefinedName; time.timeZone")
	found = f.Check(t.Context(), CheckOptions{})
	x := find(t, found, "evaluation of vps-x86")
	assert.Equal(t, secrets.Fail, x.Status)
	assert.Regexp(t, `undefined variable 'undefinedName' \(nix/modules/system\.nix:\d+:\d+\)`, x.Detail)
}

// Where the line with sops.age.keyFile is gone, real Nix says that there is no key, and
// check says it before a server is wiped for such a system.
func TestE2ECheckOfANixWithoutAKeyFile(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.needNix()
	f.standIns()
	f.replace("nix/modules/sops.nix", `age.keyFile = "/var/lib/sops-nix/key.txt";`, "")
	_, err := f.Lock(t.Context(), "")
	require.NoError(t, err, "%s", f.story)

	bad := failed(f.Check(t.Context(), CheckOptions{}))

	for _, output := range []string{"vps-x86", "vps-arm"} {
		assert.Contains(t, bad["age key of "+output].Detail, "neither sops.age.keyFile nor sops.age.sshKeyPaths")
	}
}
