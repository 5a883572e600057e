package secrets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fleet is servers that keep their key file and every secrets.yaml they were
// ever given, until forgotten. The n-th call from now fails, if failAt is n.
type fleet struct {
	t        *testing.T
	project  Project
	keys     map[string][]byte
	kept     map[string][][]byte
	own      string          // decrypts with a key of its own
	alone    string          // the same, and the key is in its key file
	away     string          // cannot be reached
	stranger string          // has another host key than the one that is accepted
	known    map[string]bool // what was found to decrypt
	calls    int
	failAt   int
}

var errCut = errors.New("connection lost")

func newFleet(t *testing.T, project Project, hosts ...string) *fleet {
	f := &fleet{t: t, project: project, keys: map[string][]byte{}, kept: map[string][][]byte{}, known: map[string]bool{}}
	for _, host := range hosts {
		f.keys[host] = mustLoad(t, project).KeyFile()
		f.kept[host] = [][]byte{readAll(t, project.SecretsFile())}
	}
	return f
}

func (f *fleet) call(host string) error {
	f.calls++
	if host == f.away || f.calls == f.failAt {
		return errCut
	}
	return nil
}

func (f *fleet) PutIdentities(_ context.Context, host string, seen HostSeen, keyFile []byte, keep ...string) error {
	if err := f.call(host); err != nil {
		return err
	}
	require.Equal(f.t, f.hostKey(host), seen.HostKey)
	var kept []byte
	for line := range strings.Lines(string(f.keys[host])) {
		if ids, err := ParseIdentities([]byte(line)); err == nil && slices.Contains(keep, ids.Hashes()[0]) {
			kept = append(kept, line...)
		}
	}
	f.keys[host] = append(kept, keyFile...)
	f.checkNobodyIsLockedOut()
	return nil
}

func (f *fleet) Look(_ context.Context, host string) (HostSeen, error) {
	if err := f.call(host); err != nil {
		return HostSeen{}, err
	}
	seen := HostSeen{Address: host + ".example:2222", HostKey: f.hostKey(host), Own: host == f.own || host == f.alone}
	if len(f.keys[host]) > 0 {
		ids, err := ParseIdentities(f.keys[host])
		require.NoError(f.t, err)
		seen.Hashes = ids.Hashes()
	}
	return seen, nil
}

func (f *fleet) hostKey(host string) string {
	if host == f.stranger {
		return "SHA256:stranger"
	}
	return "SHA256:" + host
}

func (f *fleet) Deploy(_ context.Context, host string) error {
	if err := f.call(host); err != nil {
		return err
	}
	f.kept[host] = append(f.kept[host], readAll(f.t, f.project.SecretsFile()))
	f.checkNobodyIsLockedOut()
	return nil
}

func (f *fleet) OldStillNeeded(_ context.Context, host string, _ []string, recipient string) (bool, error) {
	if err := f.call(host); err != nil {
		return false, err
	}
	return slices.ContainsFunc(f.kept[host], func(data []byte) bool { return !strings.Contains(string(data), recipient) }), nil
}

// checkNobodyIsLockedOut is what a rotation must never break: every generation
// that a server keeps decrypts with the keys that the server has.
func (f *fleet) checkNobodyIsLockedOut() {
	for host, generations := range f.kept {
		if host == f.own {
			continue
		}
		ids, err := ParseIdentities(f.keys[host])
		require.NoError(f.t, err)
		for i, data := range generations {
			pair := string(f.keys[host]) + string(data)
			if f.known[pair] {
				continue
			}
			f.known[pair] = true
			_, err := VerifyBytes(data, ids)
			require.NoError(f.t, err, "%s cannot decrypt generation %d", host, i)
		}
	}
}

// collectGarbage forgets all generations but the newest.
func (f *fleet) collectGarbage() {
	for host, generations := range f.kept {
		f.kept[host] = generations[max(0, len(generations)-1):]
	}
}

func (f *fleet) rotate(ctx context.Context) (string, error) {
	console := &fakeConsole{absent: true}
	var accept []string
	for host := range f.keys {
		accept = append(accept, "SHA256:"+host)
	}
	err := Rotate(ctx, f.project.Dir, RotateOptions{
		Console: console, Hosts: slices.Sorted(maps.Keys(f.keys)), Remote: f, Getenv: noEnvironment, Accept: accept,
		Now: func() time.Time { return time.Date(2026, 7, 22, 1, 2, 3, 0, time.UTC) },
	})
	return console.story(), err
}

func TestRotate(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	old := mustLoad(t, project)
	sealed := string(readAll(t, project.SecretsFile()))
	f := newFleet(t, project, "one", "two", "three")

	story, err := f.rotate(t.Context())
	require.NoError(t, err)
	assert.Contains(t, story, "the old key stays until")
	assert.Equal(t, 2, mustLoad(t, project).Len(), "both keys, while a kept generation needs the old one")
	_, err = VerifyBytes(readAll(t, project.SecretsFile()), old)
	require.ErrorIs(t, err, ErrWrongKey)
	for _, line := range changedLines(string(readAll(t, project.SecretsFile())), sealed) {
		assert.NotContains(t, line, "\n\n")
	}
	assert.NotContains(t, string(readAll(t, project.SecretsFile())), strings.SplitAfter(sealed, "\n")[1], "a new data key")

	f.collectGarbage()
	story, err = f.rotate(t.Context())
	require.NoError(t, err)
	assert.Contains(t, story, "git's history stay readable")
	ids := mustLoad(t, project)
	assert.Equal(t, 1, ids.Len())
	assert.NotEqual(t, old.Recipients(), ids.Recipients())
	for host, keys := range f.keys {
		assert.Equal(t, string(ids.KeyFile()), string(keys), host)
	}
	report, err := Verify(t.Context(), project.Dir, ids)
	require.NoError(t, err)
	assert.Equal(t, ids.Recipients(), report.Recipients)
	value, err := Get(project.Dir, ids, "database.password")
	require.NoError(t, err)
	assert.Equal(t, "hunter 2", value)

	retired := filepath.Join(project.SecretsDir(), "age-key-retired-2026-07-22.txt")
	info, err := os.Stat(retired)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	again, err := ParseIdentities(readAll(t, retired))
	require.NoError(t, err)
	assert.Equal(t, old.Hashes(), again.Hashes())
	assert.NoFileExists(t, project.RotationFile())
	assert.NotContains(t, story, "AGE-SECRET-KEY")
}

// TestRotateIsFinishedByTheNextRun cuts the connection at each call in turn.
func TestRotateIsFinishedByTheNextRun(t *testing.T) {
	t.Parallel()
	for cut := 1; ; cut++ {
		require.Less(t, cut, 200)
		project := newProject(t, newIdentities(t, 1), "token: x\n")
		f := newFleet(t, project, "one", "two")
		f.failAt = cut
		_, err := f.rotate(t.Context())
		if f.calls < cut {
			require.Greater(t, cut, 12)
			return
		}
		require.ErrorIs(t, err, errCut, "cut at %d", cut)
		require.Contains(t, next.Of(err).String(), "secrets:rotate")
		finish(t, f)
	}
}

// TestRotateInterruptedHere stops at each place on this machine in turn.
func TestRotateInterruptedHere(t *testing.T) {
	t.Parallel()
	for stops := 0; ; stops++ {
		require.Less(t, stops, 200)
		project := newProject(t, newIdentities(t, 1), "token: x\n")
		f := newFleet(t, project, "one")
		if _, err := f.rotate(stopAfter(t, stops)); err == nil {
			require.Greater(t, stops, 20)
			return
		}
		ids := mustLoad(t, project)
		_, err := VerifyBytes(readAll(t, project.SecretsFile()), ids)
		require.NoError(t, err, "interrupted at %d: the secrets are readable", stops)
		finish(t, f)
	}
}

func finish(t *testing.T, f *fleet) {
	t.Helper()
	_, err := f.rotate(t.Context())
	require.NoError(t, err)
	f.collectGarbage()
	_, err = f.rotate(t.Context())
	require.NoError(t, err)
	ids := mustLoad(t, f.project)
	require.Equal(t, 1, ids.Len())
	require.NoFileExists(t, f.project.RotationFile())
	for host, keys := range f.keys {
		require.Equal(t, string(ids.KeyFile()), string(keys), host)
	}
	report, err := Verify(t.Context(), f.project.Dir, ids)
	require.NoError(t, err)
	require.True(t, report.CanDecrypt(ids.Hashes()))
}

func TestAHostThatIsAwayHoldsTheRotationUp(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	old := mustLoad(t, project)
	f := newFleet(t, project, "one", "two", "three")
	f.away = "two"
	_, err := f.rotate(t.Context())
	require.ErrorIs(t, err, errCut)
	assert.Contains(t, err.Error(), "two")
	_, err = VerifyBytes(readAll(t, project.SecretsFile()), old)
	require.NoError(t, err, "the old key still decrypts, for the host that is away")
	three, err := ParseIdentities(f.keys["three"])
	require.NoError(t, err)
	assert.Equal(t, 2, three.Len(), "the others went on")
	f.away = ""
	finish(t, f)
}

func TestAServersOtherKeyIsNotLost(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	f := newFleet(t, project, "one", "two", "three")
	f.keys["one"] = append(f.keys["one"], newIdentities(t, 1).KeyFile()...)
	before := string(f.keys["one"])
	_, err := f.rotate(t.Context())
	require.ErrorContains(t, err, "an age key that is not in")
	assert.Equal(t, before, string(f.keys["one"]))
}

func TestRotateWithoutHosts(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	old := mustLoad(t, project)
	err := Rotate(t.Context(), project.Dir, RotateOptions{Console: &fakeConsole{}, Getenv: noEnvironment})
	require.NoError(t, err)
	assert.NotEqual(t, old.Recipients(), mustLoad(t, project).Recipients())
	_, err = Verify(t.Context(), project.Dir, mustLoad(t, project))
	require.NoError(t, err)
}

func TestRotateKeepsColleaguesAndTheirRecipients(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	project := newProject(t, ids, exampleYAML)
	writeKey(t, project.KeyFile(), ids.Only(ids.Recipients()[:1]))
	confirm(t, project, ids.Recipients()...)
	require.NoError(t, Rotate(t.Context(), project.Dir, RotateOptions{Console: &fakeConsole{}, Getenv: noEnvironment}))
	report, err := Verify(t.Context(), project.Dir, mustLoad(t, project))
	require.NoError(t, err)
	assert.Len(t, report.Recipients, 2)
	assert.Contains(t, report.Recipients, ids.Recipients()[1])
	assert.NotContains(t, report.Recipients, ids.Recipients()[0])
}

func TestRotateOfAProtectedKey(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	protected, err := encryptScrypt(mustLoad(t, project).KeyFile(), "secret", 10)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(project.KeyFile(), protected, 0o600))
	ask := func(context.Context, string) (string, error) { return "secret", nil }
	require.NoError(t, Rotate(t.Context(), project.Dir, RotateOptions{Console: &fakeConsole{}, Getenv: noEnvironment, Ask: ask, work: 10}))
	for path, text := range snapshot(t, project.Dir) {
		assert.NotContains(t, text, "AGE-SECRET-KEY", path)
	}
	ids, err := Sources{Dir: project.Dir, Getenv: noEnvironment, Ask: ask}.Load(t.Context())
	require.NoError(t, err)
	_, err = Verify(t.Context(), project.Dir, ids)
	require.NoError(t, err)
}

func TestRotateRefuses(t *testing.T) {
	t.Parallel()
	rotate := func(project Project, environment map[string]string) error {
		return Rotate(t.Context(), project.Dir, RotateOptions{Console: &fakeConsole{}, Getenv: func(name string) string { return environment[name] }})
	}
	require.ErrorIs(t, rotate(cloneOfThis(t), nil), ErrExampleKey)

	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	elsewhere := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.Rename(project.KeyFile(), elsewhere))
	require.ErrorContains(t, rotate(project, map[string]string{"SOPS_AGE_KEY_FILE": elsewhere}), "other projects")

	project = newProject(t, ids, exampleYAML)
	require.NoError(t, os.Mkdir(filepath.Dir(project.RotationFile()), 0o700))
	for _, text := range []string{"", "{", "{}", `{"phase":9,"new":"x","old":["y"]}`, `{"phase":1,"new":"x","old":["y"]}`} {
		writeText(t, project.RotationFile(), text)
		before := snapshot(t, project.Dir)
		require.Error(t, rotate(project, nil), text)
		assert.Equal(t, before, snapshot(t, project.Dir))
	}
}

func ExampleDeclared_Readers() {
	fmt.Println(Declared{Name: "gateway-token", Owner: "openclaw", Mode: "0400"}.Readers())
	fmt.Println(Declared{Name: "ssh-public-key", Mode: "0444", NeededForUsers: true}.Readers())
	// Output:
	// openclaw
	// every user
}

// The attack: somebody without a key puts his recipient into .sops.yaml, and with
// any text as its data key into secrets.yaml, so that the two agree. A rotation
// must not make a data key for him.
func TestRotateMakesNoDataKeyForAJunkRecipient(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	project := newProject(t, ids.Only(ids.Recipients()[:1]), exampleYAML)
	stranger := ids.Recipients()[1]
	letIn(t, project, stranger)
	_, err := Verify(t.Context(), project.Dir, mustLoad(t, project))
	require.NoError(t, err, "the forgery is one that no check can see")
	before := snapshot(t, project.Dir)
	f := newFleet(t, project, "one")

	_, err = f.rotate(t.Context())

	require.ErrorIs(t, err, ErrUnconfirmed)
	assert.ErrorContains(t, err, stranger)
	assert.Contains(t, next.Of(err).String(), "secrets:init")
	assert.Equal(t, before, snapshot(t, project.Dir))
	assert.Zero(t, f.calls, "no server was looked at")
}

// letIn forges what a recipient's entry looks like, in both files.
func letIn(t *testing.T, project Project, stranger string) {
	t.Helper()
	writeText(t, project.RulesFile(), string(readAll(t, project.RulesFile()))+"      - "+stranger+" # our new colleague\n")
	sealed := string(readAll(t, project.SecretsFile()))
	to := strings.Index(sealed, "    lastmodified:")
	require.Positive(t, to)
	junk, err := sopsage.MasterKeyFromRecipient(stranger)
	require.NoError(t, err)
	require.NoError(t, junk.Encrypt([]byte("not the data key of any file....")))
	entry := "        - enc: |\n            " + strings.ReplaceAll(strings.TrimSpace(junk.EncryptedKey), "\n", "\n            ") + "\n          recipient: " + stranger + "\n"
	writeText(t, project.SecretsFile(), sealed[:to]+entry+sealed[to:])
}

// The attack: between the phases of a rotation, somebody merges a recipient.
func TestARotationUnderWayLetsNobodyIn(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	stranger := newIdentities(t, 1).Recipients()[0]
	f := newFleet(t, project, "one", "two")
	f.away = "two"
	_, err := f.rotate(t.Context())
	require.ErrorIs(t, err, errCut)
	f.away = ""
	rules := string(readAll(t, project.RulesFile()))
	writeText(t, project.RulesFile(), rules+"      - "+stranger+"\n")

	_, err = f.rotate(t.Context())
	require.ErrorIs(t, err, ErrUnconfirmed)
	assert.NotContains(t, string(readAll(t, project.SecretsFile())), stranger)

	confirm(t, project, stranger)
	_, err = f.rotate(t.Context())
	require.ErrorContains(t, err, stranger, "confirmed or not, a rotation adds nobody")
	assert.NotContains(t, string(readAll(t, project.SecretsFile())), stranger)

	writeText(t, project.RulesFile(), rules)
	finish(t, f)
}

// The attack: a merged change of address and hostKey in vps.yaml, and an advice to
// rotate, put the private keys on a stranger's server.
func TestNoKeyGoesToAServerThatNobodyConfirmed(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	f := newFleet(t, project, "one", "two")
	finish(t, f) // both were confirmed, and remembered
	f.stranger = "two"
	f.keys["two"], f.kept["two"] = nil, nil
	before := snapshot(t, project.Dir)

	_, err := f.rotate(t.Context())

	var declined *trust.DeclinedError
	require.ErrorAs(t, err, &declined)
	assert.ErrorContains(t, err, "two: two.example:2222, host key SHA256:stranger; CHANGED: the host key was SHA256:two")
	assert.ErrorContains(t, err, "does NOT have the present key")
	assert.NotContains(t, err.Error(), "one.example", "what was confirmed by the flag is not asked about")
	assert.Contains(t, next.Of(err).String(), "mage secrets:rotate -yes=SHA256:stranger")
	assert.Empty(t, f.keys["two"], "nothing was given away")
	assert.Equal(t, before, snapshot(t, project.Dir))
}

func TestAPersonConfirmsServersOnce(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	f := newFleet(t, project, "one", "two")
	options := func(answers ...string) (RotateOptions, *fakeConsole) {
		console := &fakeConsole{answers: answers}
		return RotateOptions{Console: console, Hosts: []string{"one", "two"}, Remote: f, Getenv: noEnvironment}, console
	}
	no, console := options("no")
	err := Rotate(t.Context(), project.Dir, no)
	var declined *trust.DeclinedError
	require.ErrorAs(t, err, &declined)
	assert.True(t, declined.Asked)
	assert.Contains(t, console.story(), "not confirmed before")
	assert.Len(t, mustLoad(t, project).Recipients(), 1, "nothing was begun")

	yes, console := options("yes")
	require.NoError(t, Rotate(t.Context(), project.Dir, yes))
	assert.Equal(t, 1, strings.Count(console.story(), "Type yes"), "one question for all")
	record, err := trust.Load(t.Context(), project.Dir)
	require.NoError(t, err)
	assert.Equal(t, "SHA256:one", record.Hosts["one"].HostKey)

	f.collectGarbage()
	later, console := options()
	require.NoError(t, Rotate(t.Context(), project.Dir, later), "the end gives nobody a key that he lacks")
	assert.NotContains(t, console.story(), "Type yes")
}

func TestRotateOfSeveralFiles(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	others := map[string]string{"hosts/web/secrets.yaml": "web-token: x\n", "hosts/web/app.json": `{"api": "y"}`, "hosts/web/app.env": "API=z\n", "hosts/web/app.ini": "[a]\nb = c\n", "hosts/web/blob": "whole"}
	writeText(t, project.RulesFile(), string(readAll(t, project.RulesFile()))+"  - path_regex: ^hosts/\n    age: ["+ids.Recipients()[0]+"] # me\n")
	require.NoError(t, os.MkdirAll(filepath.Join(project.Dir, "hosts", "web"), 0o755))
	for name, plain := range others {
		writeText(t, project.in(name).SecretsFile(), string(encryptPlain(t, project.in(name), plain)))
	}
	files, err := Files(t.Context(), project.Dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"secrets/secrets.yaml", "hosts/web/app.env", "hosts/web/app.ini", "hosts/web/app.json", "hosts/web/blob", "hosts/web/secrets.yaml"}, files)
	old := mustLoad(t, project)
	f := newFleet(t, project, "one")
	finish(t, f)
	for _, file := range files {
		_, err := VerifyFile(file, readAll(t, project.in(file).SecretsFile()), old)
		require.ErrorIs(t, err, ErrWrongKey, file)
		report, err := project.in(file).Verify(mustLoad(t, project))
		require.NoError(t, err, file)
		assert.Equal(t, mustLoad(t, project).Recipients(), report.Recipients, file)
	}
	for name, want := range map[string][2]string{"hosts/web/app.json": {"api", "y"}, "hosts/web/app.env": {"API", "z"}, "hosts/web/app.ini": {"a.b", "c"}, "hosts/web/blob": {"data", "whole"}} {
		value, err := project.in(name).Get(mustLoad(t, project), want[0])
		require.NoError(t, err, name)
		assert.Equal(t, want[1], value, name)
	}
	assert.Contains(t, string(readAll(t, project.RulesFile())), "# me")
}

func encryptPlain(t *testing.T, project Project, plain string) []byte {
	t.Helper()
	rules, err := loadRules(project)
	require.NoError(t, err)
	f, err := newFile(rules, project.name())
	require.NoError(t, err)
	f.tree.Branches, err = f.store.LoadPlainFile([]byte(plain))
	require.NoError(t, err)
	data, err := f.seal()
	require.NoError(t, err)
	return data
}

// A server that decrypts with its SSH host key is given no key, and gets the secrets.
func TestAServerWithItsOwnKeyIsGivenNone(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	f := newFleet(t, project, "one", "two")
	f.own, f.keys["two"], f.kept["two"] = "two", nil, nil
	_, err := f.rotate(t.Context())
	require.NoError(t, err)
	assert.Empty(t, f.keys["two"])
	f.kept["two"] = nil
	f.collectGarbage()
	_, err = f.rotate(t.Context())
	require.NoError(t, err)
	assert.NoFileExists(t, project.RotationFile())
}
