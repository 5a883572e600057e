package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A NixOS that something else installed has a /etc/nixos of its own and no age key.
// The first update says what it takes over, asks before a private key leaves, and
// keeps what was there.
func TestUpdateTakesOverANixOSThatWasInstalledOtherwise(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typed string // "" for nobody at a terminal
		code  Code
		says  string
	}{
		"agreed":      {"y\n", CodeDone, ""},
		"not agreed":  {"n\n", CodeFailed, "would be given the private age key, at /var/lib/sops-nix/key.txt; not confirmed"},
		"no terminal": {"", CodeFailed, "no age key at /var/lib/sops-nix/key.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := f.server("web", vpstest.WithAgeKey(""), vpstest.WithTree(map[string]string{"flake.nix": "their own\n", "hardware.nix": "{ }\n"}))
			f.know(ourHosts())
			if tc.typed != "" {
				f.log = observe.To(term.New(strings.NewReader(tc.typed), &buffer{}, f.story, term.WithTerminal(100, 30)).Observer())
			}

			_, err := f.Update(t.Context(), "web", quick())

			assert.Contains(t, f.story.String(), "was not deployed from here; its /etc/nixos (2 files) is replaced, and kept on the server below /var/lib/vps/kept")
			record, loadErr := trust.Load(t.Context(), f.Dir)
			require.NoError(t, loadErr)
			if tc.code != CodeDone {
				failure(t, err, tc.code, tc.says, "")
				assert.NoFileExists(t, s.Path("var/lib/sops-nix/key.txt"))
				assert.Equal(t, "their own\n", s.ReadFile("etc/nixos/flake.nix"))
				assert.Empty(t, record.Hosts)
				return
			}
			require.NoError(t, err, "%s", f.story)
			key, err := os.ReadFile(filepath.Join(repository, "testdata/age-key.txt"))
			require.NoError(t, err)
			assert.Contains(t, s.ReadFile("var/lib/sops-nix/key.txt"), strings.TrimSpace(lastLineOf(string(key))))
			info, err := os.Stat(s.Path("var/lib/sops-nix/key.txt"))
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			kept, err := filepath.Glob(s.Path("var/lib/vps/kept/*/flake.nix"))
			require.NoError(t, err)
			require.Len(t, kept, 1)
			text, err := os.ReadFile(kept[0])
			require.NoError(t, err)
			assert.Equal(t, "their own\n", string(text))
			assert.Contains(t, record.Hosts, "web")
		})
	}
}

func lastLineOf(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// A project whose secrets all lie in other files than secrets.yaml gave its servers an
// empty key file; and a server gets no key that it has no use for.
func TestServersGetTheKeysOfTheirOwnSopsFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.secretsOfAnotherKey("nix/hosts/web/secrets.yaml")
	pre, err := f.prepare(t.Context())
	require.NoError(t, err)
	main, web := pre.reports[secretsPath].Recipients, pre.reports["hosts/web/secrets.yaml"].Recipients
	require.NotEqual(t, main, web)
	in := func(files ...string) facts.Host {
		h := facts.Host{Secrets: []secrets.Declared{}}
		for _, file := range files {
			h.Secrets = append(h.Secrets, secrets.Declared{Name: file, File: file})
		}
		return h
	}

	assert.Equal(t, web, pre.recipients(in("hosts/web/secrets.yaml")))
	assert.Equal(t, main, pre.recipients(in(secretsPath)))
	assert.ElementsMatch(t, append(main, web...), pre.recipients(in(secretsPath, "hosts/web/secrets.yaml")))
	assert.ElementsMatch(t, append(main, web...), pre.recipients(facts.Host{}), "unknown")
	assert.Equal(t, main, pre.recipients(in()), "none yet")
}
