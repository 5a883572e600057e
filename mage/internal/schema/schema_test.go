package schema

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:generate go test -run TestSchemaFileIsUpToDate -update

var update = flag.Bool("update", false, "write docs/vps.schema.json anew")

const file = "../../../docs/vps.schema.json"

func TestSchemaFileIsUpToDate(t *testing.T) {
	t.Parallel()
	want, err := JSON()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(file, want, 0o644))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), "run: go generate ./mage/internal/schema")
}

// sample has every key that vps.yaml may have.
const sample = `nix: nix
hosts:
  web-1:
    address: 203.0.113.10
    port: 2222
    user: root
    identity: ~/.ssh/id_ed25519
    system: x86
    flake: vps-x86
    tags: [prod]
    ageKey: own
    hostKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl
install:
  image: nixos/nix:2.31.2
  engine: docker
  network: host
  kexec:
    url: https://example.org/kexec.tar.gz
    sha256: "0000000000000000000000000000000000000000000000000000000000000000"
  deadlines:
    boot: 30m
  diskKeys:
    /tmp/disk.key: disk-key
signers: allowed_signers
`

// The parser and the schema know the same keys: each of the schema's is in the
// sample, which the parser takes, and the parser refuses any other.
func TestSchemaHasTheKeysOfTheParser(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("vps.yaml", []byte(sample))
	require.NoError(t, err)
	text, err := JSON()
	require.NoError(t, err)
	var root map[string]any
	require.NoError(t, json.Unmarshal(text, &root))
	all := keys(root)
	assert.Len(t, all, strings.Count(sample, "\n")-3, "one line of the sample each, but for three names: web-1, the phase boot and the path of a disk's key")
	for _, k := range all {
		assert.Regexp(t, `(?m)^ *`+k+`:`, sample)
		other := strings.Replace(sample, k+":", k+"x:", 1)
		_, err := config.Parse("vps.yaml", []byte(other))
		assert.Error(t, err, "%q is not read strictly", k)
	}
}

// keys are the names of all properties.
func keys(n map[string]any) []string {
	var all []string
	properties, _ := n["properties"].(map[string]any)
	for name, value := range properties {
		all = append(all, name)
		all = append(all, keys(value.(map[string]any))...)
	}
	if more, ok := n["additionalProperties"].(map[string]any); ok {
		all = append(all, keys(more)...)
	}
	return all
}

func TestKeysAreWrittenAsInYAML(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{"Hosts": "hosts", "HostKey": "hostKey", "URL": "url", "SHA256": "sha256"} {
		assert.Equal(t, want, key(field))
	}
}
