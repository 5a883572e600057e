// Package deptest holds the direction of dependencies: no package imports one of
// a floor above its own.
package deptest

import (
	"os/exec"
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

// floors orders the packages from the ground up. A package may import those of a
// lower floor; what is not named here is a leaf helper, open to everybody.
var floors = []string{
	"mage/remote mage/secrets mage/internal/config mage/internal/tree mage/internal/facts mage/internal/run mage/internal/container",
	"mage/internal/bootstrap mage/internal/check",
	"mage/deploy",
	"mage",
}

func TestNoImportGoesUpward(t *testing.T) {
	t.Parallel()
	floor := map[string]int{}
	for i, names := range floors {
		for name := range strings.FieldsSeq(names) {
			floor[module+name] = i
		}
	}
	for name, list := range imports(t) {
		own, known := floor[module+name]
		for _, imported := range list {
			if above, ok := floor[imported]; ok && known {
				assert.LessOrEqual(t, above, own, "%s imports %s", name, imported)
			}
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
