package vpstest_test

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/dagadbm/vps/mage/vpstest"
)

// holdSwitchLock holds NixOS's own lock for a while, as another switch does.
func holdSwitchLock(t *testing.T, s *vpstest.Server, d time.Duration) {
	file, err := os.OpenFile(s.Path("run/nixos/switch-to-configuration.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if !assert.NoError(t, err) {
		return
	}
	assert.NoError(t, unix.Flock(int(file.Fd()), unix.LOCK_EX))
	time.AfterFunc(d, func() { _ = file.Close() })
}

// A transient refusal on the way back rebooted the server after three seconds; on the
// way forward it undid a commit that had begun.
func TestSwitchLockIsWaitedFor(t *testing.T) {
	t.Parallel()
	const longer = 4 * time.Second // than three tries
	for _, c := range []struct {
		name    string
		system  vpstest.System
		verdict string
		at      string // the call before which another switch takes the lock; "" is the verdict
		result  string
	}{
		{"restore", vpstest.System{}, "reject no", "", "rolledback"},
		{"advance", vpstest.System{}, "confirm", "", "committed"},
		{"retreat", vpstest.System{BootFails: true}, "confirm", "bootloader", "rolledback"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			s := vpstest.Start(t, vpstest.WithTree(old()), vpstest.WithHook(func(s *vpstest.Server, call vpstest.Call) {
				if c.at != "" && call.Program == "nix-env" && slices.Contains(call.Args, "--switch-generation") {
					once.Do(func() { holdSwitchLock(t, s, longer) })
				}
			}))
			was := remember(s)
			a := s.NewArchive("run-1", tree(c.system, "new.nix", "new\n"))
			f := follow(t, dial(t, s), start(t, dial(t, s), a))
			defer f.close()
			f.until("confirming")
			if c.at == "" {
				holdSwitchLock(t, s, longer)
			}
			probe(t, dial(t, s), "run-1", c.verdict)
			end := f.until("end")
			assert.Equal(t, c.result, end.Fields["result"], "%s", s.RunFile("run-1", "log"))
			assert.Contains(t, s.RunFile("run-1", "log"), "Could not acquire lock")
			if c.result == "committed" {
				assertNew(t, s, was, a.Tree)
			} else {
				assertOld(t, s, was)
			}
		})
	}
}

// Before anything has changed, nobody waits: the other switch may take an hour.
func TestSwitchLockMakesTheServerBusy(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	was := remember(s)
	holdSwitchLock(t, s, patience)
	f := follow(t, dial(t, s), start(t, dial(t, s), s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", "new\n"))))
	defer f.close()
	end := f.until("end")
	assert.Equal(t, []string{"busy", "switch"}, []string{end.Fields["result"], end.Fields["reason"]}, end.Message)
	assertOld(t, s, was)
}

// An activation snippet that fails in the running system, too, blocked every update and
// every rollback.
func TestSnippetThatFailedBeforeIsNoReason(t *testing.T) {
	t.Parallel()
	broken := vpstest.System{Snippets: []string{"toy"}}
	s := vpstest.Start(t, vpstest.WithTree(tree(broken, "old.nix", "old\n")))
	activations := func() (n int) {
		for _, call := range s.Calls() {
			if call.Program == "switch-to-configuration" && call.Args[0] == "activate" {
				n++
			}
		}
		return n
	}
	for i, c := range []struct {
		snippets    []string
		result      string
		activations int
		says        string
	}{
		// Not known yet: the old system is asked, and the new one comes back.
		{[]string{"toy"}, "committed", 3, ""},
		// Known of the run before.
		{[]string{"toy"}, "committed", 1, ""},
		// One more: it goes back, once, and the old system runs.
		{[]string{"toy", "worse"}, "rolledback", 2, "the activation script of the new system failed (toy worse)"},
		{nil, "committed", 1, ""},
		// Nothing is known of this one. It is asked, which is already the way back.
		{[]string{"toy"}, "rolledback", 2, "the activation script of the new system failed (toy)"},
	} {
		before := activations()
		id := "run-" + string(rune('a'+i))
		a := s.NewArchive(id, tree(vpstest.System{Snippets: c.snippets}, "new.nix", id))
		f := follow(t, dial(t, s), start(t, dial(t, s), a))
		if c.result == "committed" {
			f.until("confirming")
			probe(t, dial(t, s), id, "confirm")
		}
		end := f.until("end")
		f.close()
		assert.Equal(t, c.result, end.Fields["result"], "%s: %s", id, s.RunFile(id, "log"))
		assert.Equal(t, c.says, end.Message, id)
		assert.Empty(t, end.Fields["degraded"], "%s: the old system is as it was", id)
		assert.Equal(t, c.activations, activations()-before, "%s: %s", id, s.RunFile(id, "log"))
	}
}

// A check of the old system's own must not keep it from coming back.
func TestGoingBackSkipsChecks(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	f := follow(t, dial(t, s), start(t, dial(t, s), s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", "new\n"))))
	defer f.close()
	f.until("confirming")
	probe(t, dial(t, s), "run-1", "reject no")
	require.Equal(t, "rolledback", f.until("end").Fields["result"])
	var back []string
	for _, call := range s.Calls() {
		if call.Program == "switch-to-configuration" && call.Args[0] == "check" {
			back = append(back, strings.TrimPrefix(call.Args[1], s.Path("nix/store"))[:5]+" "+call.Env["NIXOS_NO_CHECK"])
		}
	}
	require.NotEmpty(t, back)
	assert.True(t, strings.HasSuffix(back[len(back)-1], " 1"), "%v", back)
	assert.True(t, strings.HasSuffix(back[0], " "), "%v: only going back", back)
}
