package facts

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const oneLine = `{"version":1,"output":"vps-x86","system":"x86_64-linux","release":"26.05","sshPorts":[2222],"rootKeys":["ssh-ed25519 AAAA alice"],"rootKeyFiles":["%h/.ssh/authorized_keys"],"disks":["/dev/sdb","/dev/sda"],` +
	`"age":{"keyFile":"/var/lib/sops-nix/key.txt","sshKeyPaths":[]},"secrets":[` +
	`{"name":"z","key":"a/b","file":"hosts/web/secrets.yaml","format":"yaml","path":"/run/secrets/z","owner":"root","mode":"0400","neededForUsers":false},` +
	`{"name":"a","key":"","file":"/nix/store/x-source/own.bin","format":"binary","path":"/run/secrets-for-users/a","owner":"1000","mode":"0440","neededForUsers":true}],` +
	`"stateVersion":"26.05"}`

var oneHost = Host{
	Output: "vps-x86", System: "x86_64-linux", Release: "26.05", StateVersion: "26.05",
	SSHPorts: []int{2222}, Disks: []string{"/dev/sda", "/dev/sdb"},
	RootKeys: []string{"ssh-ed25519 AAAA alice"}, RootKeyFiles: []string{"%h/.ssh/authorized_keys"},
	Age: &Age{KeyFile: "/var/lib/sops-nix/key.txt", SSHKeyPaths: []string{}},
	Secrets: []secrets.Declared{
		{Name: "a", File: "/nix/store/x-source/own.bin", Format: "binary", Path: "/run/secrets-for-users/a", Owner: "1000", Mode: "0440", NeededForUsers: true},
		{Name: "z", Key: "a/b", File: "hosts/web/secrets.yaml", Format: "yaml", Path: "/run/secrets/z", Owner: "root", Mode: "0400"},
	},
}

func TestParse(t *testing.T) {
	t.Parallel()
	h, err := Parse([]byte(oneLine + "\n"))
	require.NoError(t, err)
	assert.Equal(t, oneHost, h)
	assert.Equal(t, []string{"hosts/web/secrets.yaml"}, h.Files(), "what lies outside the tree is not among them")
	assert.Len(t, h.SecretsIn("hosts/web/secrets.yaml"), 1)

	text, err := json.Marshal(h)
	require.NoError(t, err)
	again, err := Parse(text)
	require.NoError(t, err)
	assert.Equal(t, h, again)
	assert.NotContains(t, string(text), "\n")
}

// Unknown must never pass for "none", nor the other way round.
func TestParseTellsUnknownFromNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"version":1}`,
		`{"version":1,"output":null,"system":null,"release":null,"sshPorts":null,"rootKeys":null,"rootKeyFiles":null,"disks":null,"age":null,"secrets":null,"stateVersion":null,"later":[1]}`,
	} {
		h, err := Parse([]byte(text))
		require.NoError(t, err)
		assert.Equal(t, Host{}, h)
	}
	h, err := Parse([]byte(`{"version":1,"sshPorts":[],"rootKeys":[],"rootKeyFiles":[],"disks":[],"age":{"keyFile":null,"sshKeyPaths":[]},"secrets":[]}`))
	require.NoError(t, err)
	assert.Equal(t, Host{SSHPorts: []int{}, RootKeys: []string{}, RootKeyFiles: []string{}, Disks: []string{}, Age: &Age{SSHKeyPaths: []string{}}, Secrets: []secrets.Declared{}}, h)
	assert.True(t, h.Age.None())

	for _, h := range []Host{{}, h} {
		text, err := json.Marshal(h)
		require.NoError(t, err)
		again, err := Parse(text)
		require.NoError(t, err)
		assert.Equal(t, h, again)
	}
}

func TestParseRefusesWhatIsNoFacts(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		``:                                "no facts",
		`null`:                            "version 0",
		`[]`:                              "no facts",
		`{}`:                              "version 0",
		`{"version":2}`:                   "version 2",
		`{"version":1}{"version":1}`:      "something follows",
		`{"version":1,"sshPorts":[0]}`:    "not a port",
		`{"version":1,"sshPorts":[7e9]}`:  "no facts",
		`{"version":1,"sshPorts":["22"]}`: "no facts",
		`{"version":1,"disks":["sda"]}`:   "absolute",
		`{"version":1,"disks":["/dev/sda\u001b[2J"]}`:                             "control",
		`{"version":1,"age":{"keyFile":"key.txt"}}`:                               "absolute",
		`{"version":1,"rootKeys":["ssh-ed25519 AAAA\nssh-rsa BBBB"]}`:             "control",
		`{"version":1,"rootKeys":["` + strings.Repeat("x", maxKeyLine+1) + `"]}`:  "too long",
		`{"version":1,"rootKeys":[` + strings.Repeat(`"",`, maxRootKeys) + `""]}`: "too many",
		`{"version":1,"rootKeyFiles":["\u001b[2J"]}`:                              "control",
		`{"version":1,"secrets":[{"name":""}]}`:                                   "no name",
		`{"version":1,"secrets":[{"name":"a","file":"../x"}]}`:                    "tree",
		`{"version":1,"secrets":[{"name":"a","file":"a/../../x"}]}`:               "tree",
		`{"version":1,"secrets":[{"name":"a","path":"run/x"}]}`:                   "absolute",
		`{"version":1,"secrets":[{"name":"a","mode":"rw"}]}`:                      "octal",
		`{"version":1,"output":"a\nb"}`:                                           "control",
		`{"version":1,"output":"` + strings.Repeat("x", maxText+1) + `"}`:         "too long",
		`{"version":1,"sshPorts":[` + strings.Repeat("1,", maxPorts) + `1]}`:      "too many",
		strings.Repeat(" ", MaxSize) + `{"version":1}`:                            "KiB",
	} {
		_, err := Parse([]byte(text))
		assert.ErrorContains(t, err, says, "%.80s", text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(oneLine))
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"age":{},"secrets":[{"name":"a","file":"/x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Parse(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(h)
		require.NoError(t, err)
		again, err := Parse(text)
		require.NoError(t, err)
		assert.Equal(t, h, again)
	})
}

// The system that is built and the evaluation from outside must ask the same
// function.
func TestFactsModuleIsTheOneThatIsEvaluated(t *testing.T) {
	t.Parallel()
	module, err := os.ReadFile("../../../nix/modules/facts.nix")
	require.NoError(t, err)
	assert.Equal(t, string(module), factsNix)
}
