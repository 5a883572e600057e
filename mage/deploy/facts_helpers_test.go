package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/require"
)

// ourHosts are the outputs of nix/, as Nix has them.
func ourHosts() map[string]facts.Host {
	hosts := map[string]facts.Host{}
	for output, system := range map[string]string{"vps-x86": "x86_64-linux", "vps-arm": "aarch64-linux"} {
		hosts[output] = facts.Host{
			Output: output, System: system, Release: "26.05", StateVersion: "26.05", SSHPorts: []int{2222}, Disks: []string{"/dev/sda"},
			RootKeys: []string{}, RootKeyFiles: []string{"/run/secrets-for-users/ssh-public-key"},
			Age: &facts.Age{KeyFile: defaultAgeKey, SSHKeyPaths: []string{}},
			Secrets: []secrets.Declared{
				{Name: "gateway-token", Key: "gateway-token", File: secretsPath, Format: "yaml", Path: "/run/secrets/gateway-token", Owner: "openclaw", Mode: "0400"},
				{Name: "ssh-public-key", Key: "ssh-public-key", File: secretsPath, Format: "yaml", Path: "/run/secrets-for-users/ssh-public-key", Owner: "root", Mode: "0444", NeededForUsers: true},
			},
		}
	}
	return hosts
}

// edited gives every host a change.
func edited(hosts map[string]facts.Host, edit func(*facts.Host)) map[string]facts.Host {
	for output, h := range hosts {
		edit(&h)
		hosts[output] = h
	}
	return hosts
}

// declares adds a secret in a file of the tree to each host.
func declares(name, file string) func(*facts.Host) {
	return func(h *facts.Host) {
		h.Secrets = append(h.Secrets, secrets.Declared{Name: name, Key: name, File: file, Format: "yaml"})
	}
}

// copySecrets makes one more sops file of the project, with the values of
// secrets.yaml.
func (f *fixture) copySecrets(path string) {
	f.t.Helper()
	copyInto(f.t, filepath.Join(f.Dir, secretsPath), filepath.Join(f.Dir, filepath.FromSlash(path)))
}

// secretsOfAnotherKey makes a sops file that is encrypted to a key that is at hand and
// on no server.
func (f *fixture) secretsOfAnotherKey(path string) {
	f.t.Helper()
	other := f.t.TempDir()
	_, err := secrets.Init(f.t.Context(), other, secrets.InitOptions{
		Console: nobody{}, Declared: []secrets.Declared{{Name: "gateway-token", Key: "gateway-token", File: secretsPath, Format: "yaml"}}, Getenv: func(string) string { return "" },
	})
	require.NoError(f.t, err)
	copyInto(f.t, filepath.Join(other, secretsPath), filepath.Join(f.Dir, filepath.FromSlash(path)))
	var keys []byte
	for _, file := range []string{filepath.Join(repository, "testdata/age-key.txt"), filepath.Join(other, "secrets/age-key.txt")} {
		key, err := os.ReadFile(file)
		require.NoError(f.t, err)
		keys = append(keys, key...)
	}
	require.NoError(f.t, os.WriteFile(filepath.Join(f.Dir, "secrets/age-key.txt"), keys, 0o600))
}

// allSops makes the rules of .sops.yaml match every yaml file.
func (f *fixture) allSops() { f.replace(".sops.yaml", `^secrets/secrets\.yaml$`, `\.yaml$`) }

// nixSays is what "nix eval" prints about hosts.
func nixSays(t *testing.T, hosts map[string]facts.Host) string {
	t.Helper()
	answer := struct {
		Outputs []string          `json:"outputs"`
		Hosts   map[string]string `json:"hosts"`
	}{Outputs: []string{}, Hosts: map[string]string{}}
	for output, h := range hosts {
		text, err := json.Marshal(h)
		require.NoError(t, err)
		answer.Outputs = append(answer.Outputs, output)
		answer.Hosts[output] = string(text)
	}
	text, err := json.Marshal(answer)
	require.NoError(t, err)
	return string(text)
}

// know keeps facts of the present tree, as an evaluation does.
func (f *fixture) know(hosts map[string]facts.Host) {
	f.t.Helper()
	t, err := f.collect(f.t.Context())
	require.NoError(f.t, err)
	answer := &facts.Answer{Hosts: hosts}
	for output := range hosts {
		answer.Outputs = append(answer.Outputs, output)
	}
	require.NoError(f.t, facts.Keep(f.Dir, t.Manifest().Digest(), answer, false, time.Now()))
}
