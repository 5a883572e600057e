package mage_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// folder is a repository of somebody else's, who imports this one.
type folder struct {
	t   *testing.T
	dir string
}

// run runs a program there, with nothing of the person's own, and gives what it
// printed.
func (f folder) run(argv ...string) (stdout string, err error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "VPS_SSH_CONFIG=none",
		"SOPS_AGE_KEY=", "SOPS_AGE_KEY_FILE=", "MAGEFILE_CACHE="+filepath.Join(f.dir, ".cache"))
	var out, story bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &story
	if err = cmd.Run(); err != nil {
		f.t.Logf("%s:\n%s%s", strings.Join(argv, " "), out.String(), story.String())
	}
	return out.String(), err
}

func (f folder) must(program string, args ...string) string {
	f.t.Helper()
	out, err := f.run(append([]string{program}, args...)...)
	require.NoError(f.t, err)
	return out
}

func (f folder) write(name, text string) {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644))
}

// here makes the folder's module use this checkout, and does what go mod tidy does,
// but without the network: it takes over this checkout's requirements and sums.
func (f folder) here() {
	f.t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(f.t, err)
	f.must("go", "mod", "edit", "-require=github.com/dagadbm/vps@v0.0.0", "-replace=github.com/dagadbm/vps="+root)
	ours, err := os.ReadFile("../go.mod")
	require.NoError(f.t, err)
	theirs, err := os.ReadFile(filepath.Join(f.dir, "go.mod"))
	require.NoError(f.t, err)
	blocks := regexp.MustCompile(`(?s)\nrequire \(.*?\n\)\n`).FindAllString(string(ours), -1)
	require.NotEmpty(f.t, blocks)
	f.write("go.mod", string(theirs)+strings.Join(blocks, ""))
	sums, err := os.ReadFile("../go.sum")
	require.NoError(f.t, err)
	f.write("go.sum", string(sums))
}

// compile makes a program of the folder's targets, as go tool mage does at each
// call; without what debuggers need it takes half the time.
func (f folder) compile(program string) {
	f.t.Helper()
	f.must("go", "tool", "mage", "-compile", program, "-ldflags", "-s -w")
}

func needsGo(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("links a program with every target: half a minute")
	}
}

// As a newcomer does it: an empty folder, init, and the targets are there. Then
// everything that the README says to type and that needs no server.
func TestInitInAnEmptyFolderGivesItTheTargets(t *testing.T) {
	t.Parallel()
	needsGo(t)
	program := filepath.Join(t.TempDir(), "vps-init")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/vps-init")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	f := folder{t, t.TempDir()}
	f.home()

	f.must(program, "-sshkey=home/.ssh/id_ed25519.pub")
	f.here()

	mage := filepath.Join(f.dir, "targets")
	f.compile(mage)
	list := f.must(mage, "-l")
	for _, target := range []string{"update", "rollback", "secrets:edit"} {
		assert.Regexp(t, `(?m)^ +`+target+` `, list)
	}
	f.callable(next.Caller{Program: mage}, mage)
	_, err = f.run(program, "somewhere")
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode(), "a folder without -dir= is not taken for a flag")

	commands := serverless(t)
	require.GreaterOrEqual(t, len(commands), 7, "%q", commands)
	for _, c := range commands {
		f.must("env", append([]string{"HOME=" + filepath.Join(f.dir, "home"), mage}, c...)...)
	}
}

// home gives a person in the folder a home with a public SSH key.
func (f folder) home() {
	f.t.Helper()
	key, err := vpstest.NewKey()
	require.NoError(f.t, err)
	require.NoError(f.t, os.MkdirAll(filepath.Join(f.dir, "home/.ssh"), 0o700))
	f.write("home/.ssh/id_ed25519.pub", string(ssh.MarshalAuthorizedKey(key.PublicKey())))
}

// serverless are the README's commands that need neither a server nor somebody
// at the keyboard, in its order.
func serverless(t *testing.T) [][]string {
	t.Helper()
	var all [][]string
	typed := regexp.MustCompile("(?m)(?:^|`)(?:\\$ )?mage ([^`#\n]+)")
	for _, m := range typed.FindAllStringSubmatch(readme(t), -1) {
		words := strings.Fields(m[1])
		switch words[0] {
		case "-l", "-h", "init", "secrets:init", "secrets:list", "secrets:get", "secrets:check":
			all = append(all, words)
		case "secrets:set":
			if len(words) == 3 {
				all = append(all, words)
			}
		}
	}
	return all
}

// The example in testdata/importing builds, lists what it says, and deploys.
func TestImportingRepositoryDeploysWithItsOwnTarget(t *testing.T) {
	t.Parallel()
	needsGo(t)
	f := folder{t, t.TempDir()}
	require.NoError(t, os.CopyFS(f.dir, os.DirFS("../testdata/importing")))
	f.here()
	program := filepath.Join(f.dir, "targets")
	f.compile(program)

	list := f.must(program, "-l")
	assert.Regexp(t, `(?m)^ +vps:update `, list)
	assert.Regexp(t, `(?m)^ +vps:secrets:edit `, list)
	assert.Regexp(t, `(?m)^ +release `, list)
	f.callable(next.Caller{Program: program, Prefix: "vps:"}, program)
	f.callable(next.Caller{Program: "go tool mage", Prefix: "vps:"}, "go", "tool", "mage")

	login, err := vpstest.NewKey()
	require.NoError(t, err)
	f.write("id.pub", string(ssh.MarshalAuthorizedKey(login.PublicKey())))
	f.must(program, "vps:init", "-sshkey=id.pub")
	key, err := os.ReadFile(filepath.Join(f.dir, "secrets/age-key.txt"))
	require.NoError(t, err)
	server := vpstest.Start(t, vpstest.WithAgeKey(string(key)))
	f.write("vps.yaml", fmt.Sprintf("hosts:\n  web-1:\n    address: %s\n    port: %d\n    identity: %s\n    hostKey: %s\n",
		server.Host(), server.Port(), server.ClientKeyFile(), server.HostKeyLine()))

	_, err = f.run(program, "release", "web-1")
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 3, exit.ExitCode(), "its sshd.service is inactive, says the target's own check")
	assert.Equal(t, 1, server.Generation())

	f.write("nix/"+vpstest.ConfFile, vpstest.System{Units: []vpstest.Unit{{Name: "sshd.service", State: "active"}}}.Conf())
	assert.Contains(t, f.must(program, "release", "web-1"), "web-1: updated\n")
	assert.Equal(t, 2, server.Generation())
	assert.Contains(t, f.must(program, "vps:status", "web-1"), "as committed")
}
