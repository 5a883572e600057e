package secrets

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// twoRules is a project with a file that all hosts need and one of the host web.
func twoRules(t *testing.T) (Project, *Identities) {
	t.Helper()
	ids := newIdentities(t, 1)
	own := ids.Recipients()[0]
	project := emptyProject(t, ids, "  - path_regex: ^hosts/web/.*$\n    age:\n      - "+own+" # me\n")
	require.NoError(t, os.WriteFile(project.SecretsFile(), encryptYAML(t, project, "token: x\n"), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(project.Dir, "hosts/web"), 0o755))
	web := project.in("hosts/web/secrets.yaml")
	require.NoError(t, os.WriteFile(web.SecretsFile(), encryptYAML(t, web, "password: y\n"), 0o644))
	return project, ids
}

func opens(t *testing.T, project Project, ids *Identities) bool {
	t.Helper()
	_, err := VerifyFile(project.name(), readAll(t, project.SecretsFile()), ids)
	if err != nil {
		require.ErrorIs(t, err, ErrWrongKey)
	}
	return err == nil
}

// TestServerKeyOpensTheFilesOfItsHost: and no others, and it is nowhere on this machine.
func TestServerKeyOpensTheFilesOfItsHost(t *testing.T) {
	t.Parallel()
	project, ids := twoRules(t)
	web := project.in("hosts/web/secrets.yaml")
	var before *Identities
	for range 2 {
		key, err := ServerKeyFor(t.Context(), project.Dir, ids, "web", []string{web.name()})
		require.NoError(t, err)
		own, err := ParseIdentities(key.KeyFile())
		require.NoError(t, err)
		assert.True(t, opens(t, web, own))
		assert.True(t, opens(t, web, ids), "this machine decrypts it as before")
		assert.False(t, opens(t, project, own), "a file of another host")
		if before != nil {
			assert.False(t, opens(t, web, before), "the key of the server that was there before")
		}
		before = own
		assert.Equal(t, 1, strings.Count(string(readAll(t, project.RulesFile())), " # host web\n"))
		assert.Contains(t, string(readAll(t, project.RulesFile())), "- "+key.Recipient+" # host web\n")
		for path, text := range snapshot(t, project.Dir) {
			assert.NotContains(t, text, strings.TrimSpace(string(key.KeyFile())), path)
		}
		report, err := web.Verify(ids)
		require.NoError(t, err)
		record, err := trust.Load(t.Context(), project.Dir)
		require.NoError(t, err)
		decrypts, known := report.Server(record, "web", own.Hashes())
		assert.True(t, decrypts && known)
		decrypts, known = report.Server(record, "web", newIdentities(t, 1).Hashes())
		assert.True(t, !decrypts && known, "another key")
		_, known = report.Server(record, "db", own.Hashes())
		assert.False(t, known, "no key of that host was made here")
		assert.NotContains(t, key.String()+key.GoString(), "SECRET")
		recipient, err := RecipientNamed(project.Dir, "web")
		require.NoError(t, err)
		assert.Equal(t, key.Recipient, recipient)
	}
}

// TestServerKeyNeedsARuleOfItsOwn: a list that other files share would let the server
// read those too.
func TestServerKeyNeedsARuleOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]string{
		"one anchor": "creation_rules:\n  - path_regex: ^secrets/\n    age: &all\n      - ME\n  - path_regex: ^hosts/\n    age: *all\n",
		"one rule":   "creation_rules:\n  - age:\n      - ME\n",
		"one line":   "creation_rules:\n  - path_regex: ^secrets/\n    age: ME\n  - path_regex: ^hosts/\n    age: ME\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			project, ids := twoRules(t)
			writeText(t, project.RulesFile(), strings.ReplaceAll(rules, "ME", ids.Recipients()[0]))
			before := string(readAll(t, project.RulesFile()))
			_, err := ServerKeyFor(t.Context(), project.Dir, ids, "web", []string{"hosts/web/secrets.yaml"})
			require.ErrorContains(t, err, "hosts/web/secrets.yaml")
			assert.Contains(t, next.Of(err).String(), "as a list")
			assert.Equal(t, before, string(readAll(t, project.RulesFile())))
		})
	}
}

func TestServerKeyLetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	project, ids := twoRules(t)
	stranger := newIdentities(t, 1).Recipients()[0]
	text := string(readAll(t, project.RulesFile()))
	writeText(t, project.RulesFile(), strings.ReplaceAll(text, " # me\n", " # me\n      - "+stranger+"\n"))
	_, err := ServerKeyFor(t.Context(), project.Dir, ids, "web", []string{"hosts/web/secrets.yaml"})
	require.ErrorIs(t, err, ErrUnconfirmed)
}

// own is a fleet whose host one has a key of its own.
func ownFleet(t *testing.T) (*fleet, *Identities) {
	t.Helper()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "token: x\n")
	f := newFleet(t, project, "one", "two")
	key, err := ServerKeyFor(t.Context(), project.Dir, ids, "one", nil)
	require.NoError(t, err)
	f.alone, f.keys["one"] = "one", key.KeyFile()
	for host := range f.kept {
		f.kept[host] = [][]byte{readAll(t, project.SecretsFile())}
	}
	return f, ids
}

func (f *fleet) rotateOne(ctx context.Context) (string, error) {
	console := &fakeConsole{absent: true}
	err := RotateServer(ctx, f.project.Dir, "one", RotateOptions{Console: console, Remote: f, Getenv: noEnvironment, Accept: []string{"SHA256:one"}})
	return console.story(), err
}

// finishOne runs the rotation until nothing is left to do, and looks at the end.
func finishOne(t *testing.T, f *fleet, ids *Identities, old string) {
	t.Helper()
	for range 3 {
		_, err := f.rotateOne(t.Context())
		require.NoError(t, err)
		f.collectGarbage()
		if now, err := ParseIdentities(f.keys["one"]); err == nil && now.Len() == 1 && string(f.keys["one"]) != old {
			break
		}
	}
	now, err := ParseIdentities(f.keys["one"])
	require.NoError(t, err)
	require.Equal(t, 1, now.Len())
	require.NotEqual(t, old, string(f.keys["one"]))
	require.Equal(t, string(ids.KeyFile()), string(f.keys["two"]), "another host's key")
	require.Equal(t, string(ids.KeyFile()), string(mustLoad(t, f.project).KeyFile()), "this machine's key")
	report, err := f.project.Verify(ids)
	require.NoError(t, err)
	want := slices.Sorted(slices.Values(slices.Concat(now.Recipients(), ids.Recipients())))
	require.Equal(t, want, report.Recipients)
	f.checkNobodyIsLockedOut()
}

// TestRotateServerIsFinishedByTheNextRun cuts each call to the server in turn, then
// stops at each place on this machine.
func TestRotateServerIsFinishedByTheNextRun(t *testing.T) {
	t.Parallel()
	for cut := 1; ; cut++ {
		require.Less(t, cut, 50)
		f, ids := ownFleet(t)
		old := string(f.keys["one"])
		f.failAt = cut
		story, err := f.rotateOne(t.Context())
		assert.NotContains(t, story, "SECRET-KEY")
		if f.calls < cut {
			require.NoError(t, err)
			require.Greater(t, cut, 5)
			break
		}
		require.ErrorIs(t, err, errCut, "cut at %d", cut)
		require.Contains(t, next.Of(err).String(), "secrets:rotate -host=one")
		finishOne(t, f, ids, old)
	}
	for stops := 0; ; stops++ {
		require.Less(t, stops, 200)
		f, ids := ownFleet(t)
		old := string(f.keys["one"])
		if _, err := f.rotateOne(stopAfter(t, stops)); err == nil {
			require.Greater(t, stops, 10)
			return
		}
		finishOne(t, f, ids, old)
	}
}

// TestRotateServerTakesTheSharedKeyAway: with ageKey: own a server that has the key of
// this machine gets one of its own.
func TestRotateServerTakesTheSharedKeyAway(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	f := newFleet(t, newProject(t, ids, "token: x\n"), "one", "two")
	_, err := f.rotateOne(t.Context())
	require.ErrorContains(t, err, "has the age key of this machine")
	assert.Contains(t, next.Of(err).String(), "ageKey: own")
	f.alone = "one"
	finishOne(t, f, ids, string(ids.KeyFile()))

	f = newFleet(t, newProject(t, ids, "token: x\n"), "one", "two")
	f.alone = "one"
	_, err = f.rotate(t.Context())
	require.ErrorContains(t, err, "give it one of its own first")
	assert.Equal(t, string(ids.KeyFile()), string(f.keys["one"]), "it is not given another of this machine")
}

// TestRotateGivesNoKeyOfThisMachineToAServerWithItsOwn keeps a rotation from undoing
// what ageKey: own promises.
func TestRotateGivesNoKeyOfThisMachineToAServerWithItsOwn(t *testing.T) {
	t.Parallel()
	f, _ := ownFleet(t)
	before := string(f.keys["one"])
	for range 2 {
		_, err := f.rotate(t.Context())
		require.NoError(t, err)
		f.collectGarbage()
	}
	assert.Equal(t, before, string(f.keys["one"]))
	now := mustLoad(t, f.project)
	assert.Equal(t, string(now.KeyFile()), string(f.keys["two"]))
	f.checkNobodyIsLockedOut()
}

func TestRotateServerAsksWhoAnswers(t *testing.T) {
	t.Parallel()
	f, _ := ownFleet(t)
	f.stranger = "one"
	before := string(f.keys["one"])
	text := string(readAll(t, f.project.RulesFile()))
	_, err := f.rotateOne(t.Context())
	declined := (*trust.DeclinedError)(nil)
	require.ErrorAs(t, err, &declined)
	assert.Equal(t, before, string(f.keys["one"]))
	assert.Equal(t, text, string(readAll(t, f.project.RulesFile())))
}
