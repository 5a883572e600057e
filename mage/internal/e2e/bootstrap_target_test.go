package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/e2e/fresh"
	"github.com/stretchr/testify/require"
)

// checkout is this repository as somebody has it who has just cloned it, with
// what is not committed yet, and with the toy NixOS in its nix/.
type checkout struct {
	dir     string // the clone
	cache   string // where mage keeps the targets that it compiled
	program string // the compiled targets
}

// clones holds the one clone that all tests share: linking the targets takes
// longer than anything else here.
var clones struct {
	once sync.Once
	checkout
	parent string
}

func TestMain(m *testing.M) {
	_ = os.Setenv("VPS_SSH_CONFIG", "none") // nobody's ssh_config
	code := m.Run()
	if clones.parent != "" {
		_ = os.RemoveAll(clones.parent)
	}
	os.Exit(code)
}

// cloned gives the clone, its targets compiled.
func cloned(t *testing.T) checkout {
	t.Helper()
	e2e.Require(t, "docker", "debootstrap", "git", "go")
	clones.once.Do(func() { clones.checkout = newCheckout(t) })
	require.NotEmpty(t, clones.program, "the targets could not be compiled; see the first test that needed them")
	return clones.checkout
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	parent, err := os.MkdirTemp("", "vps-e2e-clone-")
	require.NoError(t, err)
	clones.parent = parent
	c := checkout{dir: filepath.Join(parent, "vps"), cache: filepath.Join(parent, "cache")}
	toy := fresh.NewProject(t)
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-euc", `
		git clone -q "file://$1" "$2"
		git -C "$1" diff --binary HEAD | git -C "$2" apply --allow-empty
		cp -R "$3/nix/." "$2/nix"
		cd "$2"
		git add -A
		git -c user.name=test -c user.email=test@example.org commit -q -m "A toy in nix/"
		go tool mage secrets:list >/dev/null`, "sh", e2e.Recipe("..", ".."), c.dir, toy.Dir)
	cmd.Env = append(os.Environ(), "MAGEFILE_CACHE="+c.cache)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	compiled, err := filepath.Glob(filepath.Join(c.cache, "vps-????????????????????????????????????????????????????????????????"))
	require.NoError(t, err)
	require.Len(t, compiled, 1)
	c.program = compiled[0]
	return c
}

// said is how the call of a target ended.
type said struct {
	stdout, stderr string
	code           int
}

// target is a call of a compiled target in the project's folder, as a shell
// would make it, with no settings of this machine's own.
func (r *rented) target(args ...string) *exec.Cmd {
	r.t.Helper()
	program := cloned(r.t).program
	ctx, cancel := context.WithTimeout(r.t.Context(), 4*time.Minute)
	r.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = r.project.Dir
	cmd.Env = append(append(os.Environ(), "HOME="+r.home, "TMPDIR="+r.tmp, "VPS_SSH_CONFIG=none", "SSH_AUTH_SOCK=",
		"SOPS_AGE_KEY=", "SOPS_AGE_KEY_FILE="), r.env...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// mage calls a target and waits for its end.
func (r *rented) mage(args ...string) said {
	r.t.Helper()
	return r.end(r.target(args...))
}

func (r *rented) end(cmd *exec.Cmd) said {
	r.t.Helper()
	var stdout, stderr transcript
	cmd.Stdout = io.MultiWriter(&stdout, r.story)
	cmd.Stderr = io.MultiWriter(&stderr, r.story)
	fmt.Fprintf(r.story, "$ mage %s\n", strings.Join(cmd.Args[1:], " "))
	err := cmd.Run()
	return said{stdout.String(), stderr.String(), exitCode(r.t, err)}
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	require.NoError(t, err)
	return 0
}

// typing runs a command in a terminal and types an answer to its question. What
// is said is in stdout, all of it.
func (r *rented) typing(answer string, cmd *exec.Cmd) said {
	r.t.Helper()
	fmt.Fprintf(r.story, "$ mage %s\n", strings.Join(cmd.Args[1:], " "))
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	require.NoError(r.t, err)
	defer terminal.Close()
	var screen strings.Builder
	confirmed, answered := false, false
	for buffer := make([]byte, 4096); ; {
		n, err := terminal.Read(buffer)
		_, _ = r.story.Write(buffer[:n])
		screen.Write(buffer[:n])
		if !confirmed && strings.Contains(screen.String(), "whose key each of them is? [y/N] ") {
			confirmed = true
			_, err := terminal.WriteString("y\n")
			require.NoError(r.t, err)
		}
		if !answered && strings.Contains(screen.String(), "to go on: ") {
			answered = true
			_, err := terminal.WriteString(answer + "\n")
			require.NoError(r.t, err)
		}
		if err != nil { // Linux says EIO once the program has closed its end
			return said{stdout: screen.String(), code: exitCode(r.t, cmd.Wait())}
		}
	}
}

// bootstrapping are the words of a bootstrap that nobody has to answer.
func (r *rented) bootstrapping(flags ...string) []string {
	return append([]string{"bootstrap", r.name, "-yes", "-hostkey=" + fingerprintOf(r.t, r.server.HostKey)}, flags...)
}

func (r *rented) bootstrap(flags ...string) said {
	r.t.Helper()
	return r.mage(r.bootstrapping(flags...)...)
}
