package vpstest_test

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dagadbm/vps/mage/vpstest"
)

// What stands in for programs that macOS lacks must do what the real ones do.
func TestStandInsDoWhatTheRealOnesDo(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the real flock, setsid and timeout are needed to compare with")
	}
	theirs, ours := dial(t, vpstest.Start(t)), dial(t, vpstest.Start(t, vpstest.WithBSD()))
	for _, line := range []string{
		// A lock is held as long as somebody has the descriptor.
		`(flock 9; flock -n -x l true; echo $?; flock -w 0.05 l true; echo $?) 9>l; flock -w 5 l echo free`,
		`exec 8>a; flock 8; flock -n -s a true; echo $?; exec 8>&-; flock -n -s a true; echo $?`,
		`(flock -s 7) 7<"$HOME/../etc/passwd"; echo $?; flock -n s sh -c 'exit 9'; echo $?`,
		`exec 8>b; flock -s 8; flock -n -s b true; echo $?; flock -n b true; echo $?; flock -u 8; flock -n b echo free`,
		// A command's exit code passes; a late one is ended, with all its children.
		`timeout 5 sh -c 'exit 3'; echo $?; timeout 0.1 sleep 5; echo $?; timeout -k 0.1 0.1 sh -c 'trap "" TERM; sleep 5 & wait; sleep 5' ; echo $?`,
		`timeout 5 no-such-program 2>/dev/null; echo $?; timeout 5 sh -c 'kill -TERM $$'; echo $?`,
		`timeout 0.1 sh -c 'sleep 777 & echo $! >pid; wait'; sleep 0.1; kill -0 "$(cat pid)" 2>/dev/null; echo $?`,
		// A session of its own.
		`setsid --wait sh -c 'ps -o sid= -p $$ >sid; echo $$ >own; exit 4'; echo $?; [ $(cat sid) = $(cat own) ]; echo $?`,
		`echo text >f; sha256sum f; sha256sum <f; sha256sum none 2>/dev/null; echo $?; printf '' | sha256sum`,
		`mkdir -p d/e; ln -sfn d/e k; ln -sfn k j; for p in j k d d/e f none none/x d/new .; do readlink -f $p | sed "s|$HOME||"; done; readlink j; readlink -n k; readlink f; echo $?`,
		`ln -sfn nowhere/x dangling; readlink -f dangling; ln -sfn there dangling; readlink -f dangling | sed "s|$HOME||"`,
		`stat -c %Y f >/dev/null 2>&1 || stat -f %m f >/dev/null; echo $?; echo $(($(wc -c <f) + 1))`,
	} {
		want, _, _ := output(t, theirs, line)
		got, _, _ := output(t, ours, line)
		assert.Equal(t, want, got, line)
	}
}

func TestWhatOnlyGNUKnowsIsRefused(t *testing.T) {
	t.Parallel()
	client := dial(t, vpstest.Start(t, vpstest.WithBSD()))
	for _, line := range []string{"mv --exchange a b", "mv -T a b", "cp --reflink a b", "cp -t a b", "find . -printf x",
		"sort -V", "df -B1 .", "head --lines=1", "ln -rs a b", "stat -c %s ."} {
		_, stderr, err := output(t, client, line)
		assert.Error(t, err, line)
		assert.Contains(t, stderr, "illegal option", line)
	}
}

func TestPlayedNix(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	client := dial(t, s)
	first := s.CurrentSystem()
	second := mustAdd(t, s, "second")
	profile := `-p "$VPS_ROOT/nix/var/nix/profiles/system"`
	runCommand(t, client, command("nix-env "+profile+" --set "+second))
	assert.Equal(t, 2, s.Generation())
	assert.Equal(t, second, s.ProfileSystem())
	runCommand(t, client, command("nix-env "+profile+" --set "+second))
	assert.Equal(t, []int{1, 2}, s.Generations(), "setting what is set makes no generation")
	runCommand(t, client, command("nix-env "+profile+" --switch-generation 1"))
	assert.Equal(t, first, s.ProfileSystem())
	runCommand(t, client, command("nix-env "+profile+" --delete-generations 2"))
	assert.Equal(t, []int{1}, s.Generations())
	for _, bad := range []string{"--delete-generations 1", "--switch-generation 9", "--set /nowhere", "--no-such-flag 1"} {
		_, stderr, err := output(t, client, "nix-env "+profile+" "+bad)
		assert.Error(t, err, bad)
		assert.Contains(t, stderr, "error:", bad)
	}
}

func mustAdd(t *testing.T, s *vpstest.Server, name string) string {
	path, err := s.AddSystem(name, vpstest.System{})
	assert.NoError(t, err)
	return path
}

func TestPlayedBuild(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	client := dial(t, s)
	build := func(flake string) (string, string, error) {
		return output(t, client, `cd "$VPS_ROOT/tmp" && nixos-rebuild build --flake "`+flake+`"`)
	}
	out, log, err := build("path:$VPS_ROOT/etc/nixos#vps-x86")
	assert.NoError(t, err)
	assert.Equal(t, s.CurrentSystem()+"\n", out, "equal trees make equal systems")
	assert.Contains(t, log, "building the system configuration...")
	assert.Equal(t, s.CurrentSystem()+"\n", runCommand(t, client, command(`readlink -f "$VPS_ROOT/tmp/result"`)))
	for flake, message := range map[string]string{
		"path:$VPS_ROOT/etc/nixos#other": "does not provide attribute",
		"path:$VPS_ROOT/tmp#vps-x86":     "does not contain a 'flake.nix'",
		"$VPS_ROOT/etc/nixos#vps-x86":    "path:DIR#NAME is needed",
	} {
		_, log, err := build(flake)
		assert.Error(t, err, flake)
		assert.Contains(t, log, message)
	}
	assert.NoError(t, s.WriteFile("etc/nixos/"+vpstest.ConfFile, vpstest.System{BuildFails: "syntax error"}.Conf()))
	_, log, err = build("path:$VPS_ROOT/etc/nixos#vps-x86")
	assert.Error(t, err)
	assert.Contains(t, log, "error: syntax error")
}

func TestPlayedSystemd(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	runCommand(t, client, command(`mkfifo env; systemd-run --quiet --unit=a --setenv=A=b /bin/sh -c "export -p >$HOME/env; read x <$HOME/env"`))
	env := runCommand(t, client, command(`while read -r _ v; do echo "${v%%=*}"; done <env; systemctl is-active a.service`))
	assert.Equal(t, "A PATH PWD active", strings.Join(strings.Fields(env), " "), "a unit has nothing but what it is given")
	_, stderr, err := output(t, client, "systemd-run --unit=a true")
	assert.Error(t, err)
	assert.Contains(t, stderr, "already loaded")
	runCommand(t, client, command("systemctl kill --signal=KILL a.service"))
	assert.True(t, s.WaitIdle(patience))
	assert.Equal(t, "inactive", s.Unit("", "a.service"))

	runCommand(t, client, command(`mkfifo late; systemd-run --unit=t --on-active=0.05s /bin/sh -c "echo late >$HOME/late"`))
	assert.Equal(t, "late\n", runCommand(t, client, command("read -r x <late; echo $x")))
	runCommand(t, client, command(`systemd-run --unit=u --on-active=3600s /bin/sh -c false; systemctl is-active u.timer; systemctl stop u.timer`))
	assert.Equal(t, "inactive", s.Unit("", "u.timer"))

	s.SetUnit("", "b.service", "failed")
	assert.Equal(t, "b.service loaded failed failed A unit of the test\n",
		runCommand(t, client, command("systemctl list-units --all --state=failed,auto-restart")))
	out, _, err := output(t, client, "systemctl is-system-running; systemctl is-active b.service")
	assert.Error(t, err)
	assert.Equal(t, "degraded\nfailed\n", out)
}

// A unit's main process takes its children with it, whatever their groups.
func TestUnitDiesAsAWhole(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	client := dial(t, s)
	bin := s.Path("run/current-system/sw/bin")
	runCommand(t, client, command(`mkfifo pid; systemd-run --unit=a --setenv=PATH=`+bin+` /bin/sh -c "timeout 1000 sleep 1000 & echo \$! >$HOME/pid"`))
	pid := strings.TrimSpace(runCommand(t, client, command("cat pid")))
	assert.True(t, s.WaitIdle(patience))
	assertDead(t, pid)
}

// assertDead accepts a zombie: whoever adopted it may be slow to notice.
func assertDead(t *testing.T, pid string) {
	t.Helper()
	state := stateOf(pid)
	assert.True(t, state == "" || state[0] == 'Z', "process %s lives: %s", pid, state)
}

// stateOf is a letter, or "" for no process. A small Linux has no ps.
func stateOf(pid string) string {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		state, _ := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
		return string(state)
	}
	stat, _ := os.ReadFile("/proc/" + pid + "/stat")
	// The name, in parentheses, may itself hold blanks and parentheses.
	return strings.TrimSpace(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}
