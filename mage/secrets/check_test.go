package secrets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goodProject passes every check: initialised, in git, committed.
func goodProject(t *testing.T) Project {
	t.Helper()
	project := Project{Dir: t.TempDir()}
	options, _ := initOptions(t, "y")
	_, err := Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	runGit(t, project.Dir, "init", "-q")
	runGit(t, project.Dir, "add", ".")
	runGit(t, project.Dir, "commit", "-q", "-m", "all")
	return project
}

func check(t *testing.T, project Project) map[string]Finding {
	t.Helper()
	return checkWith(t, project, CheckOptions{Declared: declaredNames(), Getenv: noEnvironment})
}

func checkWith(t *testing.T, project Project, options CheckOptions) map[string]Finding {
	t.Helper()
	out := map[string]Finding{}
	findings := Check(t.Context(), project.Dir, options)
	for _, finding := range findings {
		out[finding.Name] = finding
		if finding.Status == Fail {
			assert.NotEmpty(t, finding.Next.String(), "%+v", finding)
		}
	}
	assert.Len(t, out, 10, "every check is always there, once")
	assert.Equal(t, Failed(findings), Problems(findings) != nil)
	return out
}

func failures(findings map[string]Finding) []string {
	var out []string
	for name, finding := range findings {
		if finding.Status == Fail {
			out = append(out, name)
		}
	}
	return out
}

func TestCheckPasses(t *testing.T) {
	t.Parallel()
	for name, finding := range check(t, goodProject(t)) {
		assert.Equal(t, Pass, finding.Status, "%s: %+v", name, finding)
	}
}

func TestCheckFindsEachFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, p Project, ids *Identities)
		fails []string
	}{
		"key readable by others": {func(t *testing.T, p Project, _ *Identities) {
			require.NoError(t, os.Chmod(p.KeyFile(), 0o644))
		}, []string{"age key"}},
		"no key": {func(t *testing.T, p Project, _ *Identities) {
			require.NoError(t, os.Remove(p.KeyFile()))
		}, []string{"age key"}},
		"plain text": {func(t *testing.T, p Project, _ *Identities) {
			writeText(t, p.SecretsFile(), "gateway-token: x\n")
		}, []string{"secrets.yaml"}},
		"MAC": {func(t *testing.T, p Project, _ *Identities) {
			writeText(t, p.SecretsFile(), dropLine(string(readAll(t, p.SecretsFile())), "gateway-token"))
		}, []string{"secrets.yaml"}},
		"recipients": {func(t *testing.T, p Project, _ *Identities) {
			writeText(t, p.RulesFile(), string(readAll(t, p.RulesFile()))+"      - "+newIdentities(t, 1).Recipients()[0]+"\n")
		}, []string{"recipients"}},
		"other rules": {func(t *testing.T, p Project, _ *Identities) {
			writeText(t, p.RulesFile(), string(readAll(t, p.RulesFile()))+"    encrypted_regex: ^only\n")
		}, []string{"recipients"}},
		"one too many": {func(t *testing.T, p Project, ids *Identities) {
			_, err := Set(t.Context(), p.Dir, ids, "surplus", "x")
			require.NoError(t, err)
		}, []string{"declared names"}},
		"a broken SSH key": {func(t *testing.T, p Project, ids *Identities) {
			_, err := Set(t.Context(), p.Dir, ids, "ssh-public-key", "ssh-ed25519 nonsense")
			require.NoError(t, err)
		}, []string{"ssh-public-key"}},
		"the example's SSH key": {func(t *testing.T, p Project, ids *Identities) {
			_, err := Set(t.Context(), p.Dir, ids, "ssh-public-key", exampleSSHPublicKey)
			require.NoError(t, err)
		}, []string{"ssh-public-key"}},
		"not ignored": {func(t *testing.T, p Project, _ *Identities) {
			writeText(t, p.IgnoreFile(), "/other\n")
		}, []string{"ignored by git"}},
		"only the key itself ignored": {func(t *testing.T, p Project, _ *Identities) {
			writeText(t, p.IgnoreFile(), "/secrets/age-key.txt\n")
		}, []string{"ignored by git"}},
		"tracked": {func(t *testing.T, p Project, _ *Identities) {
			runGit(t, p.Dir, "add", "-f", "secrets/age-key.txt")
		}, []string{"not tracked"}},
		"in history": {func(t *testing.T, p Project, _ *Identities) {
			runGit(t, p.Dir, "add", "-f", "secrets/age-key.txt")
			runGit(t, p.Dir, "commit", "-q", "-m", "oops")
			runGit(t, p.Dir, "rm", "-q", "--cached", "secrets/age-key.txt")
			runGit(t, p.Dir, "commit", "-q", "-m", "gone")
		}, []string{"not in history"}},
		"in another branch, by another name": {func(t *testing.T, p Project, ids *Identities) {
			runGit(t, p.Dir, "checkout", "-q", "-b", "other")
			writeText(t, filepath.Join(p.Dir, "notes ü.md"), "my key\n"+string(ids.KeyFile()))
			runGit(t, p.Dir, "add", ".")
			runGit(t, p.Dir, "commit", "-q", "-m", "notes")
			runGit(t, p.Dir, "checkout", "-q", "-")
		}, []string{"not in history"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			project := goodProject(t)
			c.spoil(t, project, mustLoad(t, project))
			assert.ElementsMatch(t, c.fails, failures(check(t, project)))
		})
	}
}

func TestCheckOfTheExample(t *testing.T) {
	t.Parallel()
	project := cloneOfThis(t)
	assert.ElementsMatch(t, []string{"example key", "ssh-public-key"}, failures(check(t, project)), "in use for real")
	options := CheckOptions{Declared: declaredNames(), Getenv: noEnvironment, AllowSample: true}
	assert.Empty(t, failures(checkWith(t, project, options)))
	writeKey(t, project.KeyFile(), mustLoad(t, project))
	assert.ElementsMatch(t, []string{"example key", "ssh-public-key"}, failures(checkWith(t, project, options)), "taken for one's own")
}

func TestCheckOfDeclaredNames(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "there: x\nempty: \"\"\nnumber: 5\nplain_unencrypted: x\nmap:\n  inner: x\n")
	findings := checkWith(t, project, CheckOptions{Getenv: noEnvironment, Declared: declare("there", "empty", "number", "plain_unencrypted", "map/inner", "absent")})
	detail := findings["declared names"].Detail
	for _, want := range []string{"empty is empty", "number is not text", "plain_unencrypted is in plain text", "absent is missing"} {
		assert.Contains(t, detail, want)
	}
	assert.NotContains(t, detail, "there ")
	assert.NotContains(t, detail, "inner")

	findings = checkWith(t, project, CheckOptions{Getenv: noEnvironment, DeclaredErr: errors.New("flake.nix is too clever")})
	assert.Equal(t, Skipped, findings["declared names"].Status)
	assert.Contains(t, findings["declared names"].Detail, "too clever")
}

// What is declared in another file than secrets.yaml was looked at only if a rule
// matched that file.
func TestCheckOfDeclaredNamesInOtherFiles(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "there: x\n")
	data := readAll(t, project.SecretsFile())
	require.NoError(t, os.Mkdir(filepath.Join(project.Dir, "nix"), 0o755))
	writeText(t, filepath.Join(project.Dir, "nix", "web.yaml"), string(data))
	findings := map[string]Finding{}
	for _, f := range Check(t.Context(), project.Dir, CheckOptions{Getenv: noEnvironment, Declared: append(declare("there"),
		Declared{Name: "web", Key: "there", File: "nix/web.yaml", Format: "yaml"},
		Declared{Name: "web-token", Key: "token", File: "nix/web.yaml", Format: "yaml"},
		Declared{Name: "x", Key: "x", File: "secrets/gone.yaml", Format: "yaml"})}) {
		findings[f.Name] = f
	}

	assert.Equal(t, Pass, findings["declared names"].Status)
	assert.Equal(t, Pass, findings["nix/web.yaml"].Status, "it decrypts")
	assert.Equal(t, Fail, findings["recipients in nix/web.yaml"].Status, "no rule matches it, so no rotation changes it")
	assert.Equal(t, "token is missing", findings["declared names in nix/web.yaml"].Detail)
	assert.Contains(t, findings["declared names in nix/web.yaml"].Next.String(), "secrets:set token -file=nix/web.yaml")
	assert.Equal(t, Fail, findings["secrets/gone.yaml"].Status)
	assert.Contains(t, findings["secrets/gone.yaml"].Next.String(), "sops edit secrets/gone.yaml")

	findings = checkWith(t, project, CheckOptions{Getenv: noEnvironment, Declared: declare("other"), DeclaredErr: errors.New("one output is unknown")})
	assert.Equal(t, "other is missing", findings["declared names"].Detail, "whether there is a name too many is not known")
	findings = checkWith(t, project, CheckOptions{Getenv: noEnvironment, Declared: declare("there"), DeclaredErr: errors.New("one output is unknown")})
	assert.Equal(t, Pass, findings["declared names"].Status)
	assert.Contains(t, findings["declared names"].Detail, "one output is unknown")
}

func TestCheckOutsideGit(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), "gateway-token: x\nssh-public-key: "+aPublicKey+"\n")
	findings := check(t, project)
	assert.Empty(t, failures(findings))
	assert.Equal(t, Skipped, findings["not in history"].Status)
}

func TestList(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), "gateway-token: hunter2\nsurplus: y\nmap:\n  a: 1\n  b: 2\n")
	require.NoError(t, os.Remove(project.KeyFile()), "a list needs no key")
	got, err := List(t.Context(), project.Dir, append(declaredNames(), declare("map")...))
	require.NoError(t, err)
	assert.Equal(t, []Listed{
		{"secrets/secrets.yaml", "gateway-token", true, true, "openclaw", "/run/secrets/gateway-token"},
		{"secrets/secrets.yaml", "surplus", true, false, "", ""},
		{"secrets/secrets.yaml", "map.a", true, true, "root", ""},
		{"secrets/secrets.yaml", "map.b", true, true, "root", ""},
		{"secrets/secrets.yaml", "ssh-public-key", false, true, "every user", "/run/secrets-for-users/ssh-public-key"},
	}, got)
}

func TestReaders(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]Declared{
		"root":               {},
		"app":                {Owner: "app", Mode: "0400"},
		"app and its group":  {Owner: "app", Mode: "0440"},
		"every user":         {Owner: "app", Mode: "0444"},
		"root, mode strange": {Owner: "app", Mode: "strange", NeededForUsers: true},
	} {
		assert.Equal(t, want, d.Readers())
	}
	assert.False(t, strings.Contains(Declared{Owner: "app", NeededForUsers: true}.Readers(), "app"))
}

// A key that was committed, and that each of these hid from the search.
func TestCheckOfAHostileRepository(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]func(t *testing.T, p Project) Project{
		"textconv": func(t *testing.T, p Project) Project {
			writeText(t, filepath.Join(p.Dir, ".git", "info", "attributes"), "* diff=blind\n")
			runGit(t, p.Dir, "config", "diff.blind.textconv", "true")
			return p
		},
		"external diff": func(t *testing.T, p Project) Project {
			runGit(t, p.Dir, "config", "diff.external", "true")
			return p
		},
		"shallow": func(t *testing.T, p Project) Project {
			clone := Project{Dir: filepath.Join(t.TempDir(), "clone")}
			runGit(t, p.Dir, "clone", "-q", "--depth=1", "file://"+p.Dir, clone.Dir)
			require.NoError(t, os.WriteFile(clone.KeyFile(), readAll(t, p.KeyFile()), 0o600))
			return clone
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			project := goodProject(t)
			runGit(t, project.Dir, "add", "-f", "secrets/age-key.txt")
			runGit(t, project.Dir, "commit", "-q", "-m", "oops")
			runGit(t, project.Dir, "rm", "-q", "--cached", "secrets/age-key.txt")
			runGit(t, project.Dir, "commit", "-q", "-m", "gone")
			project = hide(t, project)
			finding := check(t, project)["not in history"]
			if name == "shallow" {
				assert.Equal(t, Skipped, finding.Status)
				assert.Contains(t, finding.Detail, "--unshallow")
				return
			}
			assert.Equal(t, Fail, finding.Status)
		})
	}
}

func TestCheckWithTheRepositoryOfAHook(t *testing.T) {
	project, other := goodProject(t), goodProject(t)
	runGit(t, project.Dir, "add", "-f", "secrets/age-key.txt")
	runGit(t, project.Dir, "commit", "-q", "-m", "oops")
	t.Setenv("GIT_DIR", filepath.Join(other.Dir, ".git"))
	findings := check(t, project)
	assert.Equal(t, Fail, findings["not in history"].Status)
	assert.Equal(t, Fail, findings["not tracked"].Status)
}
