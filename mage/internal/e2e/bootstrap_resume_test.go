package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// killer passes on what a program says, and kills it once it has said something.
type killer struct {
	to   io.Writer
	at   string
	cmd  *exec.Cmd
	said bytes.Buffer
}

func (k *killer) Write(p []byte) (int, error) {
	k.said.Write(p)
	if k.at != "" && strings.Contains(k.said.String(), k.at) {
		k.at = ""
		_ = k.cmd.Process.Kill() // Wait says whether it was
	}
	return k.to.Write(p)
}

// killed runs a bootstrap whose client gets SIGKILL as soon as it says at.
func (r *rented) killed(at string, flags ...string) {
	r.t.Helper()
	cmd := r.target(r.bootstrapping(flags...)...)
	cmd.Stderr = &killer{to: r.story, at: at, cmd: cmd}
	fmt.Fprintf(r.story, "$ mage %s\n", strings.Join(cmd.Args[1:], " "))
	err := cmd.Run()
	fmt.Fprintf(r.story, "(killed at: %s)\n", at)
	var exit *exec.ExitError
	require.ErrorAs(r.t, err, &exit, "it ended before it said %q", at)
	status, ok := exit.Sys().(syscall.WaitStatus)
	require.True(r.t, ok)
	require.True(r.t, status.Signaled() && status.Signal() == syscall.SIGKILL, "it ended before it said %q: %v", at, err)
}

// death is when the client is killed.
type death struct {
	phase  string
	says   string
	flags  []string
	before string // a script for the server
}

// slowOptimise makes nix-store --optimise wait: there is too little in the store
// for it to take any time.
const slowOptimise = `program=$(readlink -f /run/current-system/sw)/bin/nix-store
real=$(readlink -f $program)
rm $program
printf '#!/bin/bash\n[ "$*" != --optimise ] || while [ ! -e /run/go ]; do sleep 0.1; done\nexec -a nix-store %s "$@"\n' $real >$program
chmod 0755 $program`

// The phases of a bootstrap, by what the client says as each begins. After
// "rebooting" the installer is not needed any more, so the phases behind it are
// another chain's.
var (
	chainOfTheInstall = []death{
		{phase: "before the container", says: ": preparing the installer …"},
		{phase: "building", says: "building '/nix/store/"},
		{phase: "uploading keys", says: ": logging in with the install key …"},
		{phase: "facts", says: ": gathering facts …"},
		{phase: "kexec", says: ": starting the installer on the server …"},
		{phase: "facts of the installer", says: ": preparing the disk …"},
		{phase: "building disko script", says: ": building the partitioning script …", flags: []string{"-buildon=remote"}},
		{phase: "disko", says: ": formatting the disk …"},
		{phase: "building the closure there", says: "### Building the system closure ###", flags: []string{"-buildon=remote"}},
		{phase: "uploading the closure", says: "### Uploading the system closure ###"},
		{phase: "extra files", says: ": copying the keys …"},
		{phase: "install", says: ": installing …"},
		{phase: "ordering the reboot", says: ": rebooting …"},
	}
	chainOfTheNewSystem = []death{
		{phase: "waiting for the reboot", says: ": waiting for the reboot …"},
		{phase: "first contact", says: ": waiting for the system that was installed"},
		{phase: "update", says: ": staging …"}, // of a tree whose system runs already
		{phase: "optimise", says: ": optimising the store …", before: slowOptimise},
	}
)

// The same laptop, killed again and again, each time one phase further on: every
// next call goes on from there, cleans up after the one before, and the last one
// leads to the end.
func TestE2EBootstrapAfterTheClientWasKilled(t *testing.T) {
	t.Parallel()
	for name, chain := range map[string][]death{"during the install": chainOfTheInstall, "after the install": chainOfTheNewSystem} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rent(t)
			for _, m := range chain {
				if m.before != "" {
					r.server.Exec(m.before)
				}
				r.killed(m.says, m.flags...)
			}
			r.server.Try("touch /run/go") // not there if it is restarting just now, nor needed
			end := r.bootstrap()
			r.assertOurs(end)
			assert.NotContains(t, end.stdout, "\nlog  ", "what was installed is not installed again")
		})
	}
}
