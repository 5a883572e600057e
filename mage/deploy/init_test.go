package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
)

func initAt(t *testing.T, dir string) (string, error) {
	t.Helper()
	story := &buffer{}
	err := Init(t.Context(), dir, listener{term.New(strings.NewReader(""), &buffer{}, story).Observer()},
		InitOptions{Getenv: func(string) string { return "" }})
	return story.String(), err
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(text)
}

func TestInitMakesAProjectThatCanBeDeployed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "my servers")

	story, err := initAt(t, dir)

	require.NoError(t, err)
	assert.Contains(t, story, "go mod tidy")
	assert.Contains(t, read(t, dir, "go.mod"), "module example.com/my-servers\n")
	assert.Contains(t, read(t, dir, "go.mod"), "tool github.com/dagadbm/vps/mage/cmd/mage\n")
	assert.Contains(t, read(t, dir, "magefile.go"), `_ "github.com/dagadbm/vps/mage"`)
	assert.Equal(t, read(t, repository, "nix/modules/security.nix"), read(t, dir, "nix/modules/security.nix"))
	_, err = config.Load(dir)
	require.NoError(t, err, "vps.yaml as it is written is understood")
	_, err = tree.Collect(t.Context(), dir)
	require.NoError(t, err)
	ids, err := secrets.LoadIdentities(t.Context(), dir, nil)
	require.NoError(t, err)
	assert.False(t, ids.IsExample())
	report, err := secrets.Verify(t.Context(), dir, ids)
	require.NoError(t, err)
	assert.Contains(t, report.Names, "gateway-token")
}

func TestInitOverwritesNothingAndCanBeRunAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := map[string]string{
		"go.mod":      "module own\n\ngo 1.26.0\n\ntool (\n\tgithub.com/magefile/mage\n)\n\nrequire github.com/dagadbm/vps v1.0.0\n",
		"vps.yaml":    "hosts:\n  a:\n    address: 192.0.2.1\n",
		"magefile.go": "//go:build mage\n\npackage main\n",
		"nix/own.nix": "{}\n",
	}
	for name, text := range own {
		put(t, dir, name, text)
	}
	put(t, dir, ".gitignore", "bin/")

	story, err := initAt(t, dir)
	require.NoError(t, err)
	for name, text := range own {
		assert.Equal(t, text, read(t, dir, name), name)
	}
	assert.NoFileExists(t, filepath.Join(dir, "nix/flake.nix"), "two trees are not mixed")
	assert.Regexp(t, `(?m)^bin/$`, read(t, dir, ".gitignore"))
	assert.Contains(t, story, "//mage:import vps")

	before := contents(t, dir)
	_, err = initAt(t, dir)
	require.NoError(t, err)
	assert.Equal(t, before, contents(t, dir), "a second init changes nothing")
}

// contents are the files below dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			all[name] = read(t, dir, name)
		}
		return err
	}))
	return all
}

func TestInitKnowsWhatAModuleAlreadyHas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mod, path string
		want      bool
	}{
		"a tool":                 {"tool github.com/dagadbm/vps/mage/cmd/mage\n", mageProgram, true},
		"an ignored folder":      {"ignore (\n\t./build/mage\n)\n", mageProgram, false},
		"mage itself":            {"tool github.com/magefile/mage\n", mageProgram, true},
		"another tool":           {"tool golang.org/x/tools/cmd/stringer\n", mageProgram, false},
		"a tool in a block":      {"tool (\n\tgithub.com/magefile/mage // the targets\n)\n", mageProgram, true},
		"required, but no tool":  {"require github.com/magefile/mage v1.17.2\n", mageProgram, false},
		"only in a comment":      {"// tool github.com/magefile/mage\n", mageProgram, false},
		"required":               {"require (\n\tgithub.com/dagadbm/vps v1.0.0\n)\n", ourModule, true},
		"another of like name":   {"require github.com/dagadbm/vps2 v1.0.0\n", ourModule, false},
		"this module itself":     {"module github.com/dagadbm/vps\n", ourModule, true},
		"replaced by a checkout": {"replace github.com/dagadbm/vps => ../vps\n", ourModule, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mod, err := modfile.Parse("go.mod", []byte(c.mod), nil)
			require.NoError(t, err)
			if c.path == mageProgram {
				assert.Equal(t, c.want, hasTool(mod))
				return
			}
			lines, err := missingLines("go.mod", []byte(c.mod))
			require.NoError(t, err)
			assert.Equal(t, !c.want, strings.Contains(lines, "require "+ourModule))
		})
	}
}

func TestInitFindsAnImportThatIsThere(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"import (\n\t//mage:import\n\t_ \"github.com/dagadbm/vps/mage\"\n)\n",
		"import (\n\t//mage:import vps\n\tvps \"github.com/dagadbm/vps/mage\"\n)\n",
	} {
		dir := t.TempDir()
		put(t, dir, "magefiles/targets.go", "package main\n\n"+text)
		story, err := initAt(t, dir)
		require.NoError(t, err)
		assert.NotContains(t, story, "warning: add")
		assert.NoFileExists(t, filepath.Join(dir, "magefile.go"))
	}
}

// A second system beside a flake at the root would never be what the person
// thinks is deployed: nothing is made.
func TestInitLooksBeforeItMakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "flake.nix", "{ outputs = { nixpkgs, ... }: { }; }\n")
	put(t, dir, ".sops.yaml", "creation_rules: []\n")
	before := contents(t, dir)

	_, err := initAt(t, dir)

	var f *Failure
	require.ErrorAs(t, err, &f)
	assert.Contains(t, err.Error(), "flake.nix at the root")
	assert.Equal(t, "nothing was changed", f.State())
	assert.Equal(t, before, contents(t, dir))
}

// A new key would shadow the right one, once the person puts that in place.
func TestInitMakesNoKeyBesideSecretsOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, ".sops.yaml", "creation_rules:\n  - path_regex: secrets/secrets\\.yaml$\n    age: age148q863m20y6e0fc0a7wn2udgk8fkanpemtkxfnm7lndrp4atgvhqgfjy54\n")

	story, err := initAt(t, dir)

	require.NoError(t, err)
	assert.NoFileExists(t, filepath.Join(dir, "secrets/age-key.txt"))
	assert.Contains(t, story, "SOPS_AGE_KEY_FILE")
	assert.Regexp(t, `mage secrets:init +# make an age key`, story)
}

func TestInitEndsWithWhatCanBeTyped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "magefile.go", "//go:build mage\n\npackage main\n\nimport (\n\t//mage:import Servers\n\t_ \"github.com/dagadbm/vps/mage\"\n)\n")
	story, err := initAt(t, dir)
	require.NoError(t, err)
	assert.Contains(t, story, "mage servers:check ", "by the name that the magefile gives")
	assert.NotContains(t, story, "$EDITOR", "which is not set")
	assert.Regexp(t, `(?m)^  (nano|vim|vi|emacs) vps\.yaml `, story)
	mod := read(t, dir, "go.mod")
	assert.Contains(t, mod, "require github.com/dagadbm/vps v0.0.0")
	assert.Contains(t, mod, "replace github.com/dagadbm/vps => /", "from a checkout, which no version names")
}
