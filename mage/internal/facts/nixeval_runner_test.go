package facts

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// files are those of a tree, by path.
type files map[string]string

func ourFiles(t testing.TB) files {
	t.Helper()
	f := files{}
	root := "../../../nix"
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		name, relErr := filepath.Rel(root, path)
		f[filepath.ToSlash(name)] = string(data)
		return errors.Join(err, relErr)
	}))
	return f
}

// realNix runs Nix on a folder that holds an assembled tree ("tree") and our
// stand-ins for its inputs ("inputs"): the nix of this machine, or the one in a
// container, which gets the folder as a tar stream.
type realNix struct {
	dir   string // here
	at    string // as Nix sees it
	image string // "" runs the nix of this machine
}

// needNix finds a Nix, or skips. With VPS_E2E=1 one must be found: the image of
// the end-to-end tests has it.
func needNix(t *testing.T) *realNix {
	t.Helper()
	dir := t.TempDir()
	if _, err := exec.LookPath("nix"); err == nil {
		return &realNix{dir: dir, at: dir}
	}
	image := os.Getenv("VPS_TEST_NIX_IMAGE")
	if image == "" && os.Getenv("VPS_E2E") == "1" {
		var err error
		image, err = e2eImage()
		require.NoError(t, err, "VPS_E2E=1 needs Nix")
	}
	if image == "" {
		t.Skip("needs Nix: a nix program, or VPS_TEST_NIX_IMAGE=<image with Nix>, or VPS_E2E=1 to build one")
	}
	return &realNix{dir: dir, at: "/work", image: image}
}

// e2eImage builds the image of the end-to-end tests unless it is there.
var e2eImage = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("../../../testdata/e2e/image/build")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
})

// assemble puts nix/ together as it is deployed, with changes, and the inputs.
func (n *realNix) assemble(t *testing.T, changes files) *realNix {
	t.Helper()
	tree := ourFiles(t)
	tree["secrets/secrets.yaml"] = "gateway-token: ENC[x]\nssh-public-key: ENC[y]\n"
	for name, data := range changes {
		tree[name] = data
	}
	for name, data := range tree {
		path := filepath.Join(n.dir, "tree", filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(data), 0o644))
	}
	require.NoError(t, os.CopyFS(filepath.Join(n.dir, "inputs"), os.DirFS("../../../testdata/nix-inputs")))
	return n
}

var nixOptions = []string{
	"--extra-experimental-features", "nix-command flakes",
	"--option", "flake-registry", "", "--option", "substituters", "", "--offline",
}

// Eval makes realNix an Evaluator.
func (n *realNix) Eval(ctx context.Context, args ...string) ([]byte, error) {
	argv := append([]string{"nix"}, nixOptions...)
	argv = append(argv, "eval")
	for _, input := range []string{"nixpkgs", "disko", "home-manager", "sops-nix", "nix-openclaw"} {
		argv = append(argv, "--override-input", input, "path:"+n.at+"/inputs/"+input)
	}
	return n.run(ctx, append(argv, args...))
}

func (n *realNix) run(ctx context.Context, argv []string) ([]byte, error) {
	var stdin bytes.Buffer
	if n.image != "" {
		w := tar.NewWriter(&stdin)
		if err := w.AddFS(os.DirFS(n.dir)); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		argv = append([]string{
			"docker", "run", "--rm", "-i", "--network", "none", "--env", "HOME=/root", n.image,
			"sh", "-c", `mkdir -p "$0" && tar -x -C "$0" && exec "$@"`, n.at,
		}, argv...)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stderr = io.Reader(&stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stderr.String())
	}
	return out, nil
}

// Ref makes realNix an Evaluator.
func (n *realNix) Ref() string { return "path:" + n.tree() }

func (n *realNix) tree() string { return n.at + "/tree" }

// config is what evaluating one host gave, as JSON has it.
type config map[string]any

// at gives the value at a path of names.
func (c config) at(t *testing.T, path ...string) any {
	t.Helper()
	var v any = map[string]any(c)
	for i, name := range path {
		set, ok := v.(map[string]any)
		require.True(t, ok, "%v is no set", path[:i])
		require.Contains(t, set, name, "in %v", path[:i])
		v = set[name]
	}
	return v
}

func (c config) strings(t *testing.T, path ...string) []string {
	t.Helper()
	list, ok := c.at(t, path...).([]any)
	require.True(t, ok, "%v is no list", path)
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = fmt.Sprint(item)
	}
	return texts
}

// configs evaluates both hosts, whole.
func (n *realNix) configs(t *testing.T) map[string]config {
	t.Helper()
	out, err := n.Eval(t.Context(), "--json", "--no-write-lock-file", "path:"+n.tree()+"#nixosConfigurations",
		"--apply", `builtins.mapAttrs (name: host: builtins.removeAttrs host.config [ "nixpkgs" ])`)
	require.NoError(t, err)
	var hosts map[string]config
	require.NoError(t, json.Unmarshal(out, &hosts))
	return hosts
}
