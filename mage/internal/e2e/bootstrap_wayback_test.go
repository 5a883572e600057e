package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/e2e/fresh"
	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// failSecond is a knob that lets the first install pass, and the second fail.
const failSecond = `if [ ! -e /knobs/first ]; then touch /knobs/first
elif [ ! -e /knobs/second ]; then touch /knobs/second; exit 7; fi`

// A NixOS of ours takes its login keys from a secret, which the installer knows
// nothing of. When its reinstall fails after kexec, the person still gets in, with
// their own key and any ssh, and the next run leads to the end.
func TestE2EBootstrapOfOurOwnServerLeavesAWayBackIn(t *testing.T) {
	t.Parallel()
	r := rent(t, fresh.WithKnob("disko", failSecond))
	r.assertOurs(r.bootstrap())
	r.server.Exec("! test -e /root/.ssh/authorized_keys") // the control: sshd reads the secret alone

	end := r.mage("bootstrap", r.name, "-yes")
	assert.Equal(t, int(deploy.CodeUnknown), end.code)
	assert.Contains(t, end.stderr, "the server runs the installer in memory; its disk is erased, or half so; it must not be restarted")
	assert.Equal(t, "installer", r.server.Life())
	r.assertOwnerGetsIn("root", 22)
	r.assertThrowAwayKeyIsKept()

	end = r.mage("bootstrap", r.name, "-yes")
	r.assertOurs(end)
}

// assertOwnerGetsIn logs in with the person's own key and the real ssh, to a server
// whose host key is one that it showed before.
func (r *rented) assertOwnerGetsIn(user string, port int) {
	t := r.t
	t.Helper()
	known := filepath.Join(t.TempDir(), "known_hosts")
	scan, err := exec.CommandContext(t.Context(), "ssh-keyscan", "-p", fmt.Sprint(port), r.address).Output()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(known, scan, 0o600))
	cmd := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile="+known,
		"-i", r.key, "-p", fmt.Sprint(port), user+"@"+r.address, "echo in")
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "in\n")
}

// assertThrowAwayKeyIsKept: its private half is there, for its owner only.
func (r *rented) assertThrowAwayKeyIsKept() {
	r.t.Helper()
	info, err := os.Stat(filepath.Join(r.project.Dir, ".vps/installs", r.name+".key"))
	require.NoError(r.t, err)
	assert.Equal(r.t, os.FileMode(0o600), info.Mode().Perm())
}

// Two projects have a host of one name, and share an engine: neither ends the
// other's install.
func TestE2EBootstrapOfTwoProjectsWithOneHostName(t *testing.T) {
	t.Parallel()
	both := []*rented{rent(t), rent(t)}
	both[1].name = both[0].name
	both[1].config()
	ends := make([]said, len(both))
	var installs sync.WaitGroup
	for i, r := range both {
		cmd := r.target(r.bootstrapping()...)
		installs.Go(func() { ends[i] = r.end(cmd) })
	}
	installs.Wait()
	for i, r := range both {
		r.assertOurs(ends[i])
	}
}

// In the middle of one long command that says nothing, the client dies: the disk is
// left alone before the next install begins, however long the command would go on.
func TestE2EBootstrapEndsWhatAnInterruptedOneLeftAtWork(t *testing.T) {
	t.Parallel()
	r := rent(t, fresh.WithKnob("disko", `[ -e /knobs/again ] || { touch /knobs/again; trap "" TERM HUP; while :; do touch /knobs/alive; sleep 0.2; done; }`))
	cmd := r.target(r.bootstrapping()...)
	cmd.Stdout, cmd.Stderr = r.story, r.story
	require.NoError(t, cmd.Start())
	r.server.Await("test -e /knobs/alive", 2*time.Minute)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	r.assertOurs(r.bootstrap())
}

// breaks are the phases in which the next two tests do harm to the server.
var breaks = []death{chainOfTheInstall[2], chainOfTheInstall[4], chainOfTheInstall[7], chainOfTheInstall[9], chainOfTheInstall[11]}

// In each phase all connections to the server break, under the client and the
// installer alike; the next call leads to the end.
func TestFaultsBootstrapConnectionsCutInEachPhase(t *testing.T) {
	e2e.Require(t, "docker", "debootstrap", "sops")
	for _, m := range breaks[:faults.Points(t, 0, 1, len(breaks))] {
		t.Run(m.phase, func(t *testing.T) {
			t.Parallel()
			r := rent(t)
			r.harmed(m, `pkill -KILL -f "^sshd(-session)?: " || :`)
			r.survives(faults.Row{Area: "cut the connections of a bootstrap", Case: m.phase})
		})
	}
}

// In each phase something else begins to answer in the server's place: it gets
// neither the age key nor the person's trust, not from the next call either; once it
// is the server again, the same call leads to the end.
func TestFaultsBootstrapStrangerInEachPhase(t *testing.T) {
	e2e.Require(t, "docker", "debootstrap", "sops")
	for _, m := range breaks[:faults.Points(t, 0, 0, len(breaks))] {
		t.Run(m.phase, func(t *testing.T) {
			t.Parallel()
			r := rent(t)
			r.harmed(m, `cp -a /etc/ssh /run/right; root=; `+otherHostKey+`; systemctl restart ssh.service; pkill -KILL -f "^sshd(-session)?: " || :`)
			if out, err := r.server.Try("test -e /run/right && cp -a /run/right/. /etc/ssh/"); err == nil {
				r.server.Exec(otherAgain)
				end := r.bootstrap()
				assert.NotEqual(t, 0, end.code, "%s", out)
				assert.Contains(t, end.stderr, "host key")
				r.server.Exec("cp -a /run/right/. /etc/ssh/; systemctl restart ssh.service")
			}
			r.survives(faults.Row{Area: "a stranger in place of the server of a bootstrap", Case: m.phase})
		})
	}
}

const otherAgain = "root=; " + otherHostKey + "; systemctl restart ssh.service"

// harmed runs a bootstrap and does harm to the server as soon as it says that a
// phase begins. However it ends, it must not be well.
func (r *rented) harmed(m death, script string) {
	r.t.Helper()
	cmd := r.target(r.bootstrapping(m.flags...)...)
	stderr := &listener{to: r.story, at: m.says, heard: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = r.story, stderr
	fmt.Fprintf(r.story, "$ mage %s (harm at: %s)\n", strings.Join(cmd.Args[1:], " "), m.says)
	require.NoError(r.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-stderr.heard:
		_, _ = r.server.Try(script) // it may be between two systems
	case err := <-ended:
		require.FailNow(r.t, "it ended before that phase", "%v", err)
	}
	<-ended
}

// listener passes on what a program says, and tells when it said something.
type listener struct {
	to    *transcript
	at    string
	text  strings.Builder
	heard chan struct{}
	told  bool
}

func (l *listener) Write(p []byte) (int, error) {
	l.text.Write(p)
	if !l.told && strings.Contains(l.text.String(), l.at) {
		l.told = true
		close(l.heard)
	}
	return l.to.Write(p)
}
