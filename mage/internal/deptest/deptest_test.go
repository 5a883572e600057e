// Package deptest holds the direction of dependencies: targets stand on deploy,
// deploy on packages that know nothing of each other.
package deptest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/dagadbm/vps/"

// imports gives, for every package of this module, what it imports itself, test
// files left aside.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...")
	cmd.Dir = "../../.."
	out, err := cmd.Output()
	require.NoError(t, err)
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		all[strings.TrimPrefix(words[0], module)] = words[1:]
	}
	require.Contains(t, all, "mage/deploy")
	return all
}

func TestPackagesBelowDeployDoNotKnowEachOther(t *testing.T) {
	t.Parallel()
	for name, list := range imports(t) {
		if !slices.Contains([]string{"mage/config", "mage/tree", "mage/remote", "mage/nixos", "mage/docker", "mage/secrets"}, name) {
			continue
		}
		for _, imported := range list {
			assert.False(t, strings.HasPrefix(imported, module), "%s imports %s", name, imported)
		}
	}
}

func TestNobodyImportsTheTargets(t *testing.T) {
	t.Parallel()
	for name, list := range imports(t) {
		assert.NotContains(t, list, module+"mage", name)
	}
}

// sops brings every cloud's client library along.
func TestOnlySecretsImportsSops(t *testing.T) {
	t.Parallel()
	for name, list := range imports(t) {
		if name == "mage/secrets" || strings.HasPrefix(name, "mage/secrets/") {
			continue
		}
		for _, imported := range list {
			assert.False(t, strings.HasPrefix(imported, "github.com/getsops/"), "%s imports %s", name, imported)
		}
	}
}

// The played server must not bring a test library into the demo. What the
// end-to-end tests share stands in no program.
func TestOnlyTestsImportTestify(t *testing.T) {
	t.Parallel()
	for name, list := range imports(t) {
		if name == "mage/internal/e2e" || strings.HasPrefix(name, "mage/internal/e2e/") {
			continue
		}
		assert.NotContains(t, list, "github.com/stretchr/testify/require", name)
	}
}
