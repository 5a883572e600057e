package facts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// usualFlake is that of a case which has none.
const usualFlake = `{
  inputs = { nixpkgs.url = "nixpkgs"; disko = { url = "disko"; inputs.nixpkgs.follows = "nixpkgs"; }; sops-nix = { url = "sops-nix"; inputs.nixpkgs.follows = "nixpkgs"; }; };
  outputs = inputs@{ self, nixpkgs, disko, sops-nix }: {
    nixosConfigurations.web = nixpkgs.lib.nixosSystem {
      specialArgs = { inherit inputs self; hostname = "web"; };
      modules = [ disko.nixosModules.disko sops-nix.nixosModules.sops ./host.nix ];
    };
  };
}
`

// flakeCase is one of testdata/flakes.
type flakeCase struct {
	name string
	tree files
	want []string
}

func flakeCases(t *testing.T) []flakeCase {
	t.Helper()
	paths, err := filepath.Glob("testdata/flakes/*.txt")
	require.NoError(t, err)
	var cases []flakeCase
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		for part := range strings.SplitSeq("\n"+string(data), "\n=== ") {
			if name, text, ok := strings.Cut(part, "\n"); ok && name != "" {
				cases = append(cases, newFlakeCase(filepath.Base(path)+"/"+name, text))
			}
		}
	}
	require.Greater(t, len(cases), 80)
	return cases
}

func newFlakeCase(name, text string) flakeCase {
	c := flakeCase{name: name, tree: files{"flake.nix": usualFlake}}
	for part := range strings.SplitSeq("\n"+text, "\n-- ") {
		path, text, ok := strings.Cut(part, " --\n")
		switch {
		case path == "want":
			c.want = strings.Split(strings.TrimSpace(text), "\n")
		case ok:
			c.tree[path] = text + "\n"
		}
	}
	return c
}

// project collects the tree of a project with the files of a flake.
func project(t *testing.T, flake files) *tree.Tree {
	t.Helper()
	dir := t.TempDir()
	put := func(path, text string) {
		path = filepath.Join(dir, filepath.FromSlash(path))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	for path, text := range flake {
		put("nix/"+path, text)
	}
	for _, path := range []string{"secrets/secrets.yaml", ".sops.yaml"} {
		data, err := os.ReadFile("../../../" + path)
		require.NoError(t, err)
		put(path, string(data))
	}
	collected, err := tree.Collect(t.Context(), dir)
	require.NoError(t, err)
	return collected
}

// put lays out a tree and the stand-ins for its inputs.
func (n *realNix) put(t *testing.T, tree *tree.Tree) *realNix {
	t.Helper()
	for _, e := range tree.Manifest().Entries() {
		data, _ := tree.File(e.Path)
		path := filepath.Join(n.dir, "tree", filepath.FromSlash(e.Path))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
	require.NoError(t, os.CopyFS(filepath.Join(n.dir, "inputs"), os.DirFS("../../../testdata/nix-inputs")))
	return n
}

// Each of these was answered wrongly, or not at all, while Go code read Nix files.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	for _, c := range flakeCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := needNix(t)
			tree := project(t, c.tree)
			answer, err := Evaluate(t.Context(), n.put(t, tree), tree, Question{})
			assert.Equal(t, strings.Join(c.want, "\n"), strings.Join(c.shown(answer, err), "\n"))
		})
	}
}

// shown is an answer in the form of a case's want, and with what that mentions.
func (c flakeCase) shown(a *Answer, err error) []string {
	var lines []string
	if err != nil {
		return []string{c.failure(c.want[0], err)}
	}
	for _, want := range c.want {
		output, _, _ := strings.Cut(want, ": ")
		h, err := a.Host(output)
		if err != nil {
			lines = append(lines, output+": "+c.failure(strings.TrimPrefix(want, output+": "), err))
			continue
		}
		lines = append(lines, output+": "+shownAs(h, strings.TrimPrefix(want, output+": ")))
	}
	if len(c.want) != len(a.Outputs) {
		lines = append(lines, fmt.Sprint("there are ", a.Outputs))
	}
	return lines
}

// failure is the wanted text if the error has it.
func (c flakeCase) failure(want string, err error) string {
	if text, ok := strings.CutPrefix(want, "error "); ok && strings.Contains(err.Error(), text) {
		return want
	}
	return "error " + err.Error()
}

func shownAs(h Host, want string) string {
	var parts []string
	for part := range strings.SplitSeq(want, "; ") {
		name, _, _ := strings.Cut(part, " ")
		parts = append(parts, name+" "+shownPart(h, name))
	}
	return strings.Join(parts, "; ")
}

func shownPart(h Host, name string) string {
	switch name {
	case "ports":
		return shownList(h.SSHPorts == nil, strings.Fields(strings.Trim(fmt.Sprint(h.SSHPorts), "[]")))
	case "rootkeys":
		return strings.ReplaceAll(shownList(h.RootKeys == nil, h.RootKeys), ";", ",")
	case "rootkeyfiles":
		return shownList(h.RootKeyFiles == nil, h.RootKeyFiles)
	case "disks":
		return shownList(h.Disks == nil, h.Disks)
	case "diskkeys":
		return shownList(h.DiskKeys == nil, h.DiskKeys)
	case "system":
		return cmp.Or(h.System, "?")
	case "key":
		return shownList(h.Age == nil, strings.Fields(h.Age.KeyFile))
	case "sshkeys":
		return shownList(h.Age == nil, h.Age.SSHKeyPaths)
	}
	var secrets []string
	for _, s := range h.Secrets {
		text := s.Name + "=" + s.File
		if !s.InTree() {
			text = s.Name + "=outside"
		}
		if s.Key != s.Name {
			text += "#" + s.Key
		}
		secrets = append(secrets, text)
	}
	return shownList(h.Secrets == nil, secrets)
}

func shownList(unknown bool, list []string) string {
	switch {
	case unknown:
		return "?"
	case len(list) == 0:
		return "-"
	}
	return strings.Join(list, " ")
}

// All facts of the two hosts of nix/, from outside and as the built systems have
// them: they come of one function.
func TestEvaluateOurs(t *testing.T) {
	t.Parallel()
	n := needNix(t)
	tree := project(t, ourFiles(t))
	answer, err := Evaluate(t.Context(), n.put(t, tree), tree, Question{})
	require.NoError(t, err)
	assert.Equal(t, []string{"vps-arm", "vps-x86"}, answer.Outputs)
	assert.Empty(t, answer.Failed)
	for output, system := range map[string]string{"vps-x86": "x86_64-linux", "vps-arm": "aarch64-linux"} {
		assert.Equal(t, Host{
			Output: output, System: system, Release: "26.05", StateVersion: "26.05",
			SSHPorts: []int{2222}, Disks: []string{"/dev/sda"}, DiskKeys: []string{},
			RootKeys: []string{}, RootKeyFiles: []string{"/run/secrets-for-users/ssh-public-key"},
			Age:     &Age{KeyFile: "/var/lib/sops-nix/key.txt", SSHKeyPaths: []string{}},
			Secrets: shipped,
		}, answer.Hosts[output])
	}
	for output, c := range n.configs(t) {
		text := c.at(t, "environment", "etc", "vps/facts.json", "text").(string)
		built, err := Parse([]byte(text))
		require.NoError(t, err)
		assert.Equal(t, answer.Hosts[output], built)
		assert.NotContains(t, text, "/nix/store", "else a comment in flake.nix would change the system")
		assert.Equal(t, 1, strings.Count(text, "\n"), "one line")
	}
}

func TestEvaluateOnlyWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	n := needNix(t)
	flake := ourFiles(t)
	flake["modules/system.nix"] = strings.Replace(flake["modules/system.nix"], "{", "{ flakeOutput, ", 1)
	tree := project(t, ourFiles(t))
	n.put(t, tree)
	answer, err := Evaluate(t.Context(), n, tree, Question{Outputs: []string{"vps-x86", "web-9"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"vps-x86"}, slices.Sorted(maps.Keys(answer.Hosts)))
	_, err = answer.Host("web-9")
	var missing *NoOutputError
	require.ErrorAs(t, err, &missing)
	assert.Equal(t, []string{"vps-arm", "vps-x86"}, missing.Has)
	_, err = answer.Host("vps-arm")
	assert.ErrorContains(t, err, "was not evaluated")
}

// fakeNix answers without Nix, one call after the other.
type fakeNix struct {
	answers []string // an error, if it begins with "error:"
	calls   [][]string
}

func (f *fakeNix) Ref() string { return "path:/work" }

func (f *fakeNix) Eval(_ context.Context, args ...string) ([]byte, error) {
	text := f.answers[len(f.calls)]
	f.calls = append(f.calls, args)
	if said, ok := strings.CutPrefix(text, "error:"); ok {
		return nil, errors.New(said)
	}
	return []byte(text), nil
}

func TestEvaluateAsksOnceForAll(t *testing.T) {
	t.Parallel()
	nix := &fakeNix{answers: []string{`{"outputs":["b","a"],"hosts":{"a":"{\"version\":1,\"sshPorts\":[22]}\n","b":"{\"version\":1}\n"}}`}}
	answer, err := Evaluate(t.Context(), nix, project(t, files{"flake.nix": usualFlake}), Question{})
	require.NoError(t, err)
	assert.Equal(t, &Answer{
		Outputs: []string{"a", "b"}, Failed: map[string]error{},
		Hosts: map[string]Host{"a": {SSHPorts: []int{22}}, "b": {}},
	}, answer)
	require.Len(t, nix.calls, 1)
	assert.Equal(t, []string{"--json", "--no-update-lock-file", "path:/work#nixosConfigurations", "--apply"}, nix.calls[0][:4])
	assert.NotContains(t, nix.calls[0][4], "drvPath", "the facts alone are quicker")
}

// What Nix prints is as foreign as the flake.
func TestEvaluateRefusesWhatIsNoAnswer(t *testing.T) {
	t.Parallel()
	tree := project(t, files{"flake.nix": usualFlake})
	for _, text := range []string{``, `null`, `[]`, `{}`, `{"hosts":{}}`, `{"outputs":"a"}`, `{"outputs":[],"hosts":{"a":1}}`} {
		_, err := Evaluate(t.Context(), &fakeNix{answers: []string{text, text}}, tree, Question{})
		assert.ErrorContains(t, err, "something else than it was asked for", text)
	}
	nix := &fakeNix{answers: []string{`{"outputs":["a","b"],"hosts":{"a":"{\"version\":1,\"sshPorts\":[0]}","b":"{\"version\":1}"}}`}}
	answer, err := Evaluate(t.Context(), nix, tree, Question{})
	require.NoError(t, err)
	assert.ErrorContains(t, answer.Failed["a"], "not a port")
	_, err = answer.Host("b")
	assert.NoError(t, err)
}

// The module in somebody's own flake, as nixosModules.vps gives it: it must not
// make another system of every change of a comment.
func TestBuiltFactsOfAnotherFlake(t *testing.T) {
	t.Parallel()
	module, err := os.ReadFile("../../../nix/modules/facts.nix")
	require.NoError(t, err)
	for name, c := range map[string]struct{ args, file string }{
		"it says what it is": {"specialArgs = { inherit inputs; };", "hosts/web.yaml"},
		"it does not":        {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flake := strings.Replace(usualFlake, `specialArgs = { inherit inputs self; hostname = "web"; };`, c.args, 1)
			flake = strings.Replace(flake, "./host.nix", "./host.nix ./other/modules/facts.nix", 1)
			tree := project(t, files{
				"flake.nix": flake, "hosts/web.yaml": "a: ENC[x]\n",
				"host.nix":                `{ sops = { defaultSopsFile = ./hosts/web.yaml; secrets.a = { }; }; }`,
				"other/flake.nix":         "{ }",
				"other/modules/facts.nix": string(module),
			})
			n := needNix(t)
			out, err := n.put(t, tree).Eval(t.Context(), "--raw", "--no-write-lock-file", n.Ref()+"#nixosConfigurations",
				"--apply", `hosts: hosts.web.config.environment.etc."vps/facts.json".text`)
			require.NoError(t, err)
			h, err := Parse(out)
			require.NoError(t, err)
			require.Len(t, h.Secrets, 1)
			assert.Equal(t, c.file, h.Secrets[0].File)
			assert.NotContains(t, string(out), "/nix/store")
		})
	}
}

// A configuration may name its sops file by a link of the tree, of the file or of its
// folder: it is the file behind it that is deployed, edited and rotated.
func TestEvaluateFollowsLinksToSopsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "secrets"), os.DirFS("../../../secrets")))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "nix", "hosts", "web"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nix", "flake.nix"), []byte("{ outputs = _: { }; }\n"), 0o644))
	require.NoError(t, os.Symlink("../../secrets/secrets.yaml", filepath.Join(dir, "nix", "hosts", "web", "secrets.yaml")))
	require.NoError(t, os.Symlink("hosts/web", filepath.Join(dir, "nix", "here")))
	collected, err := tree.Collect(t.Context(), dir)
	require.NoError(t, err)
	for named, want := range map[string]string{
		"hosts/web/secrets.yaml": "secrets/secrets.yaml", "here/secrets.yaml": "secrets/secrets.yaml",
		"secrets/secrets.yaml": "secrets/secrets.yaml", "hosts/web/gone.yaml": "hosts/web/gone.yaml", "/etc/other.yaml": "/etc/other.yaml",
	} {
		host := Host{Secrets: []secrets.Declared{{Name: "a", Key: "a", File: named}}}.relate(collected)
		assert.Equal(t, want, host.Secrets[0].File, named)
	}
}
