package tree

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCollectWithoutGit(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"nix/embed.go":         "package nix\n",
		"nix/modules/gen.go":   "package modules\n",
		"nix/modules/base.nix": "{ }\n",
		"nix/bin/run":          "#!/bin/sh\n",
		"nix/link":             "-> modules/base.nix",
		"nix/.git/config":      "[core]\n",
		"nix/sub/.git":         "gitdir: elsewhere\n",
		"nix/sub/x":            "x",
		"README.md":            "not deployed\n",
		"secrets/other.yaml":   "not deployed\n",
	})
	require.NoError(t, os.Mkdir(filepath.Join(dir, "nix", "empty"), 0o755))
	tr := collect(t, dir)
	assert.Equal(t, []string{
		".sops.yaml", "bin/run", "flake.nix", "link", "modules/base.nix", "modules/gen.go", "secrets/secrets.yaml", "sub/x",
	}, paths(tr.Manifest()))
	assert.Equal(t, []string{"not a git repository: all of nix/ is deployed"}, tr.Warnings())

	run, _ := tr.Manifest().Lookup("bin/run")
	assert.Equal(t, Entry{Type: TypeExecutable, Path: "bin/run", Hash: hash([]byte("#!/bin/sh\n")), Size: 10}, run)
	link, _ := tr.Manifest().Lookup("link")
	assert.Equal(t, Entry{Type: TypeLink, Path: "link", Hash: hash([]byte("modules/base.nix")), Target: "modules/base.nix", Size: 16}, link)
	_, found := tr.Manifest().Lookup("empty")
	assert.False(t, found)
	data, ok := tr.File("modules/base.nix")
	assert.True(t, ok)
	assert.Equal(t, "{ }\n", string(data))
	_, ok = tr.File("link")
	assert.False(t, ok)
}

// A flake at the root of its repository is deployed as it is. What this machine
// keeps there for itself never is, whether git ignores it or not.
func TestCollectWhereTheFlakeIsAtTheRoot(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"flake.nix":             "{ outputs = _: { }; }\n",
		"hosts/web/default.nix": "{ }\n",
		"app/main.go":           "package main\n",
		"app/go.mod":            "module app\n",
		"nix/embed.go":          "package nix\n",
		"vps.yaml":              "nix: .\n",
		"sub/vps.yaml":          "of something else\n",
		".gitignore":            "/ignored\n",
		"ignored":               "AGE-SECRET-KEY-1\n",
		".vps/trust.json":       "{}\n",
		"secrets/age-key.txt":   "AGE-SECRET-KEY-1\n",
	}
	want := []string{
		".gitignore", ".sops.yaml", "app/go.mod", "app/main.go", "flake.nix", "hosts/web/default.nix",
		"nix/embed.go", "nix/flake.nix", "secrets/secrets.yaml", "sub/vps.yaml",
	}
	dir := project(t, files)
	runGit(t, dir, "init", "-q")
	p := Project{Dir: dir, Nix: "."}
	tr, err := p.Collect(t.Context())
	require.NoError(t, err, "nothing is committed yet")
	assert.Equal(t, want, paths(tr.Manifest()))
	assert.Equal(t, "nix/flake.nix", tr.Source("nix/flake.nix"))

	commit(t, dir)
	state, err := p.Git(t.Context())
	require.NoError(t, err)
	assert.False(t, state.Dirty)
	write(t, dir, map[string]string{"vps.yaml": "nix: .\nhosts: {}\n"})
	state, err = p.Git(t.Context())
	require.NoError(t, err)
	assert.False(t, state.Dirty, "vps.yaml is not deployed")
	write(t, dir, map[string]string{"app/main.go": "package changed\n"})
	state, err = p.Git(t.Context())
	require.NoError(t, err)
	assert.True(t, state.Dirty)

	outside := project(t, files)
	require.NoError(t, os.Remove(filepath.Join(outside, "ignored")))
	tr, err = Project{Dir: outside, Nix: "."}.Collect(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, paths(tr.Manifest()), "without git")
}

func TestCollectOfAnotherFolder(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"infra/nixos/flake.nix": "{ }\n", "infra/other": "x", "infra/nixos/modules/a.nix": "{ }\n"})
	tr, err := Project{Dir: dir, Nix: "infra/nixos"}.Collect(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{".sops.yaml", "flake.nix", "modules/a.nix", "secrets/secrets.yaml"}, paths(tr.Manifest()))
	assert.Equal(t, "infra/nixos/modules/a.nix", tr.Source("modules/a.nix"))
	assert.Equal(t, "secrets/secrets.yaml", tr.Source("secrets/secrets.yaml"))

	_, err = Project{Dir: dir, Nix: "infra"}.Collect(t.Context())
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "infra/flake.nix", e.Path)
}

// A second sops file keeps its place, wherever it lies.
func TestCollectTakesEverySopsFile(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"secrets/more.yaml": sealed, "hosts/web.yaml": sealed, "secrets/notes.txt": "x"})
	tr, err := Project{Dir: dir, Sops: []string{"hosts/web.yaml", "secrets/more.yaml"}}.Collect(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{".sops.yaml", "flake.nix", "hosts/web.yaml", "secrets/more.yaml", "secrets/secrets.yaml"}, paths(tr.Manifest()))
	assert.Equal(t, "hosts/web.yaml", tr.Source("hosts/web.yaml"))

	write(t, dir, map[string]string{"nix/hosts/web.yaml": "x"})
	_, err = Project{Dir: dir, Sops: []string{"hosts/web.yaml"}}.Collect(t.Context())
	assert.ErrorContains(t, err, "its place on the server is that of")
}

// An owner who decrypts otherwise, or not at all, need not have secrets.yaml.
func TestCollectWithoutSecrets(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"flake.nix": "{ }\n"})
	runGit(t, dir, "rm", "-q", "secrets/secrets.yaml", ".sops.yaml")
	_, err := Project{Dir: dir}.Collect(t.Context())
	assert.ErrorContains(t, err, "secrets/secrets.yaml")
	tr, err := Project{Dir: dir, Nix: "."}.Collect(t.Context())
	require.NoError(t, err)
	assert.Empty(t, tr.Warnings())
}

func TestCollectSaysThatSopsConfigIsMissing(t *testing.T) {
	t.Parallel()
	dir := project(t, nil)
	require.NoError(t, os.Remove(filepath.Join(dir, ".sops.yaml")))
	assert.Contains(t, strings.Join(collect(t, dir).Warnings(), "\n"), ".sops.yaml")
}

// Each case breaks a good project in one way and names what the error must
// point at.
func TestCollectRefuses(t *testing.T) {
	t.Parallel()
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(filepath.Join(dir, name))) }
	}
	for _, c := range []struct {
		name, path, reason, hint string
		line                     int
		files                    map[string]string
		prepare                  func(*testing.T, string)
	}{
		{name: "no nix", path: "nix/flake.nix", reason: "no such file", hint: "mage init", prepare: remove("nix")},
		{name: "no flake", path: "nix/flake.nix", reason: "no such file", hint: "mage init", prepare: remove("nix/flake.nix")},
		{name: "flake is a link", path: "nix/flake.nix", reason: "not a regular file", hint: "replace",
			files: map[string]string{"nix/f": "{}"}, prepare: func(t *testing.T, dir string) {
				remove("nix/flake.nix")(t, dir)
				require.NoError(t, os.Symlink("f", filepath.Join(dir, "nix/flake.nix")))
			}},
		{name: "nix is a link", path: "nix", reason: "not a folder", hint: "make it a folder", prepare: func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(filepath.Join(dir, "nix"), filepath.Join(dir, "real")))
			require.NoError(t, os.Symlink("real", filepath.Join(dir, "nix")))
		}},
		{name: "no secrets", path: "secrets/secrets.yaml", reason: "no such file", hint: "mage secrets:init", prepare: remove("secrets")},
		{name: "plain secrets", path: "secrets/secrets.yaml", reason: "not encrypted", hint: "secrets:set",
			files: map[string]string{"secrets/secrets.yaml": "password: hunter2\n"}},
		{name: "age key", path: "nix/modules/a.nix", line: 2, reason: "age identity", hint: "take the key out",
			files: map[string]string{"nix/modules/a.nix": "{\n  key = \"AGE-SECRET-KEY-1QQ\";\n}\n"}},
		{name: "age key, lower case", path: "nix/a", line: 1, reason: "age identity", hint: "take the key out",
			files: map[string]string{"nix/a": "age-secret-key-1qq"}},
		{name: "age key, post-quantum", path: "nix/a", line: 1, reason: "age identity", hint: "take the key out",
			files: map[string]string{"nix/a": "age-secret-key-pq-1qq"}},
		{name: "age key in .sops.yaml", path: ".sops.yaml", line: 3, reason: "age identity", hint: "take the key out",
			files: map[string]string{".sops.yaml": "\n\n# AGE-SECRET-KEY-PQ-1QQ\n"}},
		{name: "ssh key", path: "nix/id", line: 1, reason: "a private key", hint: "take the key out",
			files: map[string]string{"nix/id": "-----BEGIN OPENSSH PRIVATE KEY-----\n"}},
		{name: "pkcs8 key", path: "nix/id", line: 2, reason: "a private key", hint: "take the key out",
			files: map[string]string{"nix/id": "\n-----BEGIN PRIVATE KEY-----\n"}},
		{name: "absolute link", path: "nix/l", reason: "absolute", hint: "relative path", files: map[string]string{"nix/l": "-> /etc/passwd"}},
		{name: "link to the project", path: "nix/l", reason: "leads out of the tree", hint: "relative path",
			files: map[string]string{"nix/l": "-> ../secrets/secrets.yaml"}},
		{name: "link out and in again", path: "nix/l", reason: "leads out of the tree", hint: "relative path",
			files: map[string]string{"nix/l": "-> ../nix/flake.nix"}},
		{name: "link out behind a link", path: "nix/l", reason: "leads out of the tree", hint: "relative path",
			files: map[string]string{"nix/a/b/c": "c", "nix/top": "-> a", "nix/l": "-> top/../../x"}},
		{name: "loop", path: "nix/l", reason: "back to itself", hint: "relative path", files: map[string]string{"nix/l": "-> l"}},
		{name: "link with a line break", path: "nix/l", reason: "control character", hint: "rename", files: map[string]string{"nix/l": "-> a\nb"}},
		{name: "name with a line break", path: "nix/a\nb", reason: "control character", hint: "rename", files: map[string]string{"nix/a\nb": ""}},
		{name: "name with a C1 control", path: "nix/a\u009b", reason: "control character", hint: "rename", files: map[string]string{"nix/a\u009b": ""}},
		{name: "name with a backslash", path: `nix/a\b`, reason: "backslash", hint: "rename", files: map[string]string{`nix/a\b`: ""}},
		{name: "case", path: "nix/a/readme", reason: "same name on a Mac", hint: "rename one",
			files: map[string]string{"nix/a/README": "", "nix/a/readme": ""}},
		{name: "case of folders", path: "nix/mod", reason: "same name on a Mac", hint: "rename one",
			files: map[string]string{"nix/Mod/a": "", "nix/mod/b": ""}},
		{name: "accents", path: "nix/\u00e9", reason: "same name on a Mac", hint: "rename one",
			files: map[string]string{"nix/e\u0301": "", "nix/\u00e9": ""}},
		{name: "takes the place of the secrets", path: "nix/secrets/secrets.yaml", reason: "its place", hint: "rename",
			files: map[string]string{"nix/secrets/secrets.yaml": "x"}},
		{name: "takes the place of the secrets folder", path: "nix/secrets", reason: "a file and a folder", hint: "rename",
			files: map[string]string{"nix/secrets": "x"}},
		{name: "pipe", path: "nix/p", reason: "a named pipe", hint: "remove it", prepare: func(t *testing.T, dir string) {
			require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "nix/p"), 0o600))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := project(t, c.files)
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			_, err := Collect(context.Background(), dir)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.path, e.Path)
			assert.Equal(t, c.line, e.Line)
			assert.Contains(t, e.Error(), c.reason)
			assert.Contains(t, e.NextStep().String(), c.hint)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestCollectRefusesASocket(t *testing.T) {
	dir := project(t, nil)
	t.Chdir(filepath.Join(dir, "nix")) // the path of a socket is short, that of a temp folder is not
	l, err := net.Listen("unix", "s")
	require.NoError(t, err)
	defer l.Close()
	_, err = Collect(context.Background(), dir)
	assert.ErrorContains(t, err, "it is a socket")
}

func TestCollectRefusesAnUnreadableFile(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	dir := project(t, map[string]string{"nix/a": "a"})
	require.NoError(t, os.Chmod(filepath.Join(dir, "nix/a"), 0))
	_, err := Collect(context.Background(), dir)
	require.ErrorIs(t, err, os.ErrPermission)
	assert.ErrorContains(t, err, `"nix/a": it cannot be read`)
}

// A folder that cannot be read must not be deployed as if it were empty, with
// git or without.
func TestCollectRefusesAnUnreadableFolder(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	for name, dir := range map[string]string{"git": repository(t, nil), "no git": project(t, nil)} {
		write(t, dir, map[string]string{"nix/sub/a": "a"})
		require.NoError(t, os.Chmod(filepath.Join(dir, "nix/sub"), 0))
		_, err := Collect(context.Background(), dir)
		assert.ErrorIs(t, err, os.ErrPermission, name)
		require.NoError(t, os.Chmod(filepath.Join(dir, "nix/sub"), 0o700))
	}
}

func TestCollectReportsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"nix/a": "AGE-SECRET-KEY-1", "nix/b": "-----BEGIN EC PRIVATE KEY-----"})
	_, err := Collect(context.Background(), dir)
	assert.ErrorContains(t, err, `"nix/a:1"`)
	assert.ErrorContains(t, err, `"nix/b:1"`)
}

func TestCollectAllowsWhatOnlyLooksLikeAKey(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"nix/a": "age-secret-key-file = 1; -----BEGIN PUBLIC KEY----- -----BEGIN AGE ENCRYPTED FILE-----",
	})
	collect(t, dir)
}

func TestCollectFollowsLinksThroughTheTree(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"nix/a/b/c":     "c",
		"nix/deep":      "-> a/b",
		"nix/up":        "-> deep/../b/c", // deep/.. is a, not the root
		"nix/root":      "-> a/..",
		"nix/forgotten": "-> a/gone",
	})
	tr := collect(t, dir)
	assert.Contains(t, tr.Warnings(), "nix/forgotten links to a/gone, which is not deployed")
	assert.Len(t, tr.Warnings(), 2, "the other is about git")
}

func TestCollectRefusesTooMuch(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"nix/big.iso": "x", "nix/small": "y"})
	require.NoError(t, os.Truncate(filepath.Join(dir, "nix/big.iso"), maxSize)) // a hole: it costs no space
	_, err := Collect(context.Background(), dir)
	require.ErrorContains(t, err, "more than the 64 MiB")
	assert.ErrorContains(t, err, "nix/big.iso (65536 KiB)")
}

func TestCollectIsCancellable(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Collect(ctx, repository(t, nil))
	assert.ErrorIs(t, err, context.Canceled)
	_, err = Collect(ctx, project(t, nil))
	assert.ErrorIs(t, err, context.Canceled)
}

// A file that is written while it is read must not be deployed half old, half
// new.
func TestReadNoticesChanges(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(full string) error{
		"grown":    func(full string) error { return os.WriteFile(full, []byte("longer than before"), 0o644) },
		"shrunk":   func(full string) error { return os.Truncate(full, 1) },
		"replaced": func(full string) error { return os.Rename(full+".new", full) },
		"gone":     os.Remove,
		"mode":     func(full string) error { return os.Chmod(full, 0o755) },
		"link": func(full string) error {
			return errors.Join(os.Remove(full), os.Symlink("flake.nix", full))
		},
		"pipe": func(full string) error {
			return errors.Join(os.Remove(full), syscall.Mkfifo(full, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := project(t, map[string]string{"nix/a": "before", "nix/a.new": "after!"})
			full := filepath.Join(dir, "nix/a")
			files, err := Project{Dir: dir}.statAll([]string{"nix/a"})
			require.NoError(t, err)
			r, err := files[0].open(full)
			require.NoError(t, err)
			defer r.Close()
			require.NoError(t, change(full))

			_, before := files[0].content(full)
			_, during := files[0].drain(r, full)
			for _, err := range []error{before, during} {
				var e *Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, "it changed while it was being read", e.Reason)
				assert.NotEmpty(t, e.NextStep().String())
			}
		})
	}
}

// A tree full of the same mistake must not bury the rest of a report.
func TestCollectBoundsItsReport(t *testing.T) {
	t.Parallel()
	files := make(map[string]string)
	for i := range maxProblems + 5 {
		files[fmt.Sprintf("nix/%02d", i)] = "AGE-SECRET-KEY-1"
	}
	_, err := Collect(context.Background(), project(t, files))
	require.ErrorContains(t, err, `"nix/19:1"`)
	assert.NotContains(t, err.Error(), `"nix/20:1"`)
	assert.ErrorContains(t, err, "and 5 more files like these")
}

func TestTreeSize(t *testing.T) {
	t.Parallel()
	small, big := collect(t, project(t, nil)), collect(t, project(t, map[string]string{"nix/a": "12345"}))
	assert.EqualValues(t, 5, big.Size()-small.Size())
	assert.Equal(t, 1, big.Manifest().Len()-small.Manifest().Len())
}
