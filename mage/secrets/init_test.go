package secrets

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const aPublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdpcwvIXLk2dVmwnTWV5fhHkrSRGWEUqqMFV7lZfRZl me@laptop"

func declaredNames() []Declared {
	list := declare("gateway-token", "ssh-public-key")
	list[0].Path, list[0].Owner, list[0].Mode = "/run/secrets/gateway-token", "openclaw", "0400"
	list[1].Path, list[1].Mode, list[1].NeededForUsers = "/run/secrets-for-users/ssh-public-key", "0444", true
	return list
}

// aHome has a default SSH key.
func aHome(t *testing.T) string {
	home := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
	writeText(t, filepath.Join(home, ".ssh", "id_ed25519.pub"), aPublicKey+"\n")
	return home
}

func initOptions(t *testing.T, answers ...string) (InitOptions, *fakeConsole) {
	console := &fakeConsole{answers: answers}
	return InitOptions{Console: console, Declared: declaredNames(), Home: aHome(t), Getenv: noEnvironment}, console
}

func mustLoad(t *testing.T, project Project) *Identities {
	t.Helper()
	ids, err := Sources{Dir: project.Dir, Getenv: noEnvironment}.Load(t.Context())
	require.NoError(t, err)
	return ids
}

// snapshot is every file below a folder.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			out[path] = string(readAll(t, path))
		}
		return err
	}))
	return out
}

func TestInitOfAnEmptyFolder(t *testing.T) {
	t.Parallel()
	project := Project{Dir: t.TempDir()}
	options, console := initOptions(t, "yes")
	changed, err := Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	assert.True(t, changed)

	info, err := os.Stat(project.KeyFile())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	ids := mustLoad(t, project)
	report, err := Verify(t.Context(), project.Dir, ids)
	require.NoError(t, err)
	assert.Equal(t, ids.Recipients(), report.Recipients)
	token, err := Get(project.Dir, ids, "gateway-token")
	require.NoError(t, err)
	assert.Regexp(t, "^[0-9a-f]{64}$", token)
	key, err := Get(project.Dir, ids, "ssh-public-key")
	require.NoError(t, err)
	assert.Equal(t, aPublicKey, key)
	assert.Contains(t, string(readAll(t, project.IgnoreFile())), "/secrets/age-key*.txt\n")
	assert.Contains(t, console.story(), "BACK IT UP")
	assert.NotContains(t, console.story(), token)
	assert.NotContains(t, console.story(), "AGE-SECRET-KEY")

	before := snapshot(t, project.Dir)
	options, console = initOptions(t)
	changed, err = Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	assert.False(t, changed)
	assert.Contains(t, console.story(), "nothing to do")
	assert.Equal(t, before, snapshot(t, project.Dir))
}

// cloneOfThis is a project as a fresh clone of this repository has it.
func cloneOfThis(t *testing.T) Project {
	t.Helper()
	project := Project{Dir: t.TempDir()}
	root := Project{Dir: filepath.Join("..", "..")}
	for from, to := range map[string]string{
		root.SecretsFile(): project.SecretsFile(), root.RulesFile(): project.RulesFile(),
		root.IgnoreFile(): project.IgnoreFile(), root.ExampleKeyFile(): project.ExampleKeyFile(),
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.WriteFile(to, readAll(t, from), 0o644))
	}
	return project
}

func TestInitReplacesTheExample(t *testing.T) {
	t.Parallel()
	project := cloneOfThis(t)
	example := mustLoad(t, project)
	require.True(t, example.IsExample(), "a fresh clone works at once")
	token, err := Get(project.Dir, example, "gateway-token")
	require.NoError(t, err)
	rules := string(readAll(t, project.RulesFile()))

	options, _ := initOptions(t, "y")
	_, err = Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	ids := mustLoad(t, project)
	assert.False(t, ids.IsExample())
	_, err = VerifyBytes(readAll(t, project.SecretsFile()), example)
	require.ErrorIs(t, err, ErrWrongKey)
	after, err := Get(project.Dir, ids, "gateway-token")
	require.NoError(t, err)
	assert.NotEqual(t, token, after)
	key, err := Get(project.Dir, ids, "ssh-public-key")
	require.NoError(t, err)
	assert.Equal(t, aPublicKey, key)
	assert.Equal(t, strings.Replace(rules, ExampleRecipient, ids.Recipients()[0], 1), string(readAll(t, project.RulesFile())))
	plain, err := mustOpen(t, readAll(t, project.SecretsFile()), ids).plain()
	require.NoError(t, err)
	assert.Equal(t, []string{
		"# What a client of the OpenClaw gateway has to show.", "gateway-token: " + after,
		"# Whose SSH key may log in, as root and as openclaw.", "ssh-public-key: " + aPublicKey,
	}, strings.Split(strings.TrimSpace(string(plain)), "\n"), "comments stay with what they are about")
}

func TestInitKeepsWhatWasAddedToTheExample(t *testing.T) {
	t.Parallel()
	project := cloneOfThis(t)
	example := mustLoad(t, project)
	f := mustOpen(t, readAll(t, project.SecretsFile()), example)
	require.NoError(t, f.set([]string{"mine"}, "precious"))
	data, err := f.seal()
	require.NoError(t, err)
	writeText(t, project.SecretsFile(), string(data))
	options, console := initOptions(t, "y")
	_, err = Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	value, err := Get(project.Dir, mustLoad(t, project), "mine")
	require.NoError(t, err)
	assert.Equal(t, "precious", value)
	assert.Contains(t, console.story(), "change them: mine")
}

// TestInitGoesOnAfterAnInterrupt stops after each write that init does.
func TestInitGoesOnAfterAnInterrupt(t *testing.T) {
	t.Parallel()
	for stops := 0; ; stops++ {
		require.Less(t, stops, 50)
		project := cloneOfThis(t)
		options, _ := initOptions(t, "y")
		_, err := Init(stopAfter(t, stops), project.Dir, options)
		if err == nil {
			require.Greater(t, stops, 3)
			return
		}
		if fileExists(project.KeyFile()) {
			ignored, err := keyIgnored(t.Context(), project)
			require.NoError(t, err)
			assert.True(t, ignored, "ignored before it is there")
		}
		key, _ := os.ReadFile(project.KeyFile())
		options, _ = initOptions(t, "y")
		_, err = Init(t.Context(), project.Dir, options)
		require.NoError(t, err, "%d", stops)
		if key != nil {
			assert.Equal(t, key, readAll(t, project.KeyFile()), "never overwritten")
		}
		_, err = Verify(t.Context(), project.Dir, mustLoad(t, project))
		require.NoError(t, err, "%d", stops)
	}
}

func TestInitNeverOverwritesAKey(t *testing.T) {
	t.Parallel()
	project := Project{Dir: t.TempDir()}
	require.NoError(t, os.MkdirAll(project.SecretsDir(), 0o755))
	require.NoError(t, os.WriteFile(project.KeyFile(), []byte("something else\n"), 0o600))
	options, _ := initOptions(t)
	_, err := Init(t.Context(), project.Dir, options)
	require.Error(t, err)
	assert.Equal(t, "something else\n", string(readAll(t, project.KeyFile())))
}

func TestInitOfSomebodyElsesProject(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	require.NoError(t, os.Remove(project.KeyFile()))
	before, rules := readAll(t, project.SecretsFile()), readAll(t, project.RulesFile())
	options, _ := initOptions(t)
	_, err := Init(t.Context(), project.Dir, options)
	require.ErrorIs(t, err, ErrWrongKey)
	assert.Contains(t, err.Error(), mustLoad(t, project).Recipients()[0], "what to send to the others")
	assert.Equal(t, before, readAll(t, project.SecretsFile()))
	assert.Equal(t, rules, readAll(t, project.RulesFile()))
}

func TestInitLetsAColleagueInAndOut(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	me, both := ids.Only(ids.Recipients()[:1]), ids
	project := newProject(t, me, exampleYAML)
	rules := string(readAll(t, project.RulesFile()))
	before := string(readAll(t, project.SecretsFile()))
	colleague := ids.Only(ids.Recipients()[1:])
	options := InitOptions{Console: &fakeConsole{}, Getenv: noEnvironment}

	writeText(t, project.RulesFile(), rules+"      - "+ids.Recipients()[1]+" # Ana\n")
	// Nobody is let in without a person saying so: not without a terminal, and
	// not by any answer but yes.
	for _, console := range []*fakeConsole{{absent: true}, {answers: []string{""}}, {answers: []string{"no"}}} {
		_, err := Init(t.Context(), project.Dir, InitOptions{Console: console, Getenv: noEnvironment})
		require.ErrorContains(t, err, ids.Recipients()[1]+` (.sops.yaml calls it "Ana")`)
		assert.Equal(t, before, string(readAll(t, project.SecretsFile())))
		if console.absent {
			assert.Contains(t, next.Of(err).String(), "mage secrets:init -yes="+ids.Recipients()[1])
		}
	}
	options.Console = &fakeConsole{answers: []string{"yes"}}
	_, err := Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	options.Console = &fakeConsole{} // who was confirmed is not asked about again
	_, err = VerifyBytes(readAll(t, project.SecretsFile()), colleague)
	require.NoError(t, err)
	assert.Contains(t, string(readAll(t, project.SecretsFile())), strings.SplitAfter(before, "\n")[1], "values keep their ciphertext")

	writeText(t, project.RulesFile(), rules)
	_, err = Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	_, err = VerifyBytes(readAll(t, project.SecretsFile()), colleague)
	require.ErrorIs(t, err, ErrWrongKey)
	assert.NotContains(t, string(readAll(t, project.SecretsFile())), strings.SplitAfter(before, "\n")[1], "a new data key")
	_, err = Verify(t.Context(), project.Dir, both)
	require.NoError(t, err)
}

func TestInitEncryptsPlainText(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := emptyProject(t, ids, "")
	writeText(t, project.SecretsFile(), exampleYAML)
	console := &fakeConsole{}
	_, err := Init(t.Context(), project.Dir, InitOptions{Console: console, Getenv: noEnvironment})
	require.NoError(t, err)
	plain, err := mustOpen(t, readAll(t, project.SecretsFile()), ids).plain()
	require.NoError(t, err)
	assert.Equal(t, exampleYAML, string(plain))
	assert.Contains(t, console.story(), "change them")
}

func TestInitAsksForOtherSecrets(t *testing.T) {
	t.Parallel()
	options, _ := initOptions(t, "typed", "", "no")
	options.Declared = declare("smtp/password", "later", "ssh-public-key")
	options.Declared[2].Name = "x"
	project := Project{Dir: t.TempDir()}
	_, err := Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	names, err := Names(project.Dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"smtp.password"}, names)
}

func TestInitWithoutATerminal(t *testing.T) {
	t.Parallel()
	options, console := initOptions(t)
	console.absent = true
	options.SSHKey = filepath.Join(options.Home, ".ssh", "id_ed25519.pub")
	options.Declared = append(options.Declared, declare("other")...)
	project := Project{Dir: t.TempDir()}
	_, err := Init(t.Context(), project.Dir, options)
	require.NoError(t, err)
	names, err := Names(project.Dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"gateway-token", "ssh-public-key"}, names)
	assert.Contains(t, console.story(), "mage secrets:set other")
}

func TestPublicKeys(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		aPublicKey: true, "# mine\n" + aPublicKey + "\n\n" + `from="10.0.0.1" ` + aPublicKey + "\n": true,
		"": false, "# none": false, "ssh-ed25519 AAAA": false, aPublicKey + "\nrubbish": false,
		"-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n": false,
	} {
		_, err := parsePublicKeys([]byte(text))
		assert.Equal(t, ok, err == nil, "%q: %v", text, err)
	}
}

func runGit(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e@example.org"}, args...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
