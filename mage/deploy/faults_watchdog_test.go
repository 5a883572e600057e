package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
)

// trouble is a new system that misbehaves, and how its update must end.
type trouble struct {
	name   string
	system vpstest.System
	code   Code
	says   string // part of what the person is told
	moves  bool   // to a spare port
	told   bool   // which vps.yaml declares
	full   bool   // needs a disk of its own
}

var troubles = []trouble{
	{name: "stops sshd", system: vpstest.System{SSH: vpstest.SSHStopped}, code: CodeRolledBack, says: "nobody confirmed"},
	{name: "a unit fails", system: vpstest.System{Units: []vpstest.Unit{{Name: "web.service"}}}, code: CodeRolledBack, says: "web.service"},
	{name: "the switch fails with 2", system: vpstest.System{Exit: 2}, code: CodeRolledBack, says: "failed with 2"},
	{name: "the switch hangs", system: vpstest.System{Hang: vpstest.Forever}, code: CodeRolledBack, says: "did not end within"},
	{name: "the switch fails with 1", system: vpstest.System{Exit: 1}, code: CodeRolledBack, says: "failed with 1"},
	{name: "the switch fails with 4, no unit does", system: vpstest.System{Exit: 4}, code: CodeDone, says: "some units failed"},
	{name: "the switch fails with 100", system: vpstest.System{Exit: 100}, code: CodeFailed, says: "cannot be switched to now"},
	{name: "the switch hangs after sshd has stopped", system: vpstest.System{SSH: vpstest.SSHStopped, Stall: vpstest.Forever},
		code: CodeRolledBack, says: "did not end within"},
	{name: "drops the network", system: vpstest.System{SSH: vpstest.SSHDropped}, code: CodeRolledBack, says: "nobody confirmed"},
	{name: "moves to a declared port", moves: true, told: true, code: CodeDone, says: "where it answered last"},
	{name: "moves to a port that nobody declared", moves: true, code: CodeRolledBack, says: ""},
	{name: "a unit fails a while later", system: vpstest.System{Units: []vpstest.Unit{{Name: "late.service", After: 300 * time.Millisecond}}},
		code: CodeRolledBack, says: "late.service"},
	{name: "fills the disk", system: vpstest.System{FillDisk: true, SSH: vpstest.SSHStopped}, full: true, code: CodeRolledBack, says: "the activation script"},
	{name: "breaks the login of the user", system: vpstest.System{SSH: vpstest.SSHDenied}, code: CodeRolledBack, says: "no new login on port"},
	{name: "stops sshd, and going back fails once", system: vpstest.System{SSH: vpstest.SSHStopped, LeaveFails: 1},
		code: CodeRolledBack, says: "switching back failed"},
	{name: "stops sshd, and going back always fails", system: vpstest.System{SSH: vpstest.SSHStopped, LeaveFails: 99},
		code: CodeRolledBack, says: "boots generation"},
}

// What a new system does to keep everybody out, the watchdog undoes: for each way
// the exit code, the state at the end, how long nobody could log in, and what the
// person was told.
func TestFaultsWatchdogMatrix(t *testing.T) {
	faults.Asked(t)
	t.Parallel()
	enter := places(6) // they wait for deadlines
	for _, c := range troubles[:faults.Points(t, 2, len(troubles), len(troubles))] {
		if c.full && (runtime.GOOS != "linux" || os.Geteuid() != 0) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			enter(t)
			c.endure(t)
		})
	}
}

func (c trouble) endure(t *testing.T) {
	w := &witness{}
	options := []vpstest.Option{vpstest.WithHook(w.hook)}
	if c.full {
		// Enough for a real system, as far as the checks before it see.
		options = append(options, vpstest.WithDiskSize(48<<20), vpstest.WithFree("/nix/store", 1<<20))
	}
	v := newVictim(t, run.KindUpdate, vpstest.System{}, options...)
	story := v.hear(func(string) {})
	v.o.Confirm, v.o.SwitchTimeout, v.o.Settle = 4*time.Second, 3*time.Second, time.Second
	v.with = c.system
	if c.moves {
		v.with.Port = v.s.SparePort()
	}
	host := v.hosts["web"]
	if c.told {
		change("web", func(h *config.Host) { h.Port = v.s.SparePort() })(v.fixture, v.s)
	}
	assert.NoError(t, v.aim())
	before := standingOf(v.s)
	w.watch(v, v.hosts["web"])
	err := v.attempt()
	away := w.ended()
	assert.True(t, v.s.WaitIdle(idle))
	row := faults.Row{Area: "watchdog (the switch may take 3 s, the confirmation 4 s)", Case: c.name, Injected: 1}
	row.Detail = fmt.Sprintf("exit %d, %s, nobody could log in for %.1f s: %s", codeOf(err), c.state(v, before), away.Seconds(), lastWords(err))
	t.Log(row.Detail)
	survived := c.survived(t, v, before, err, story.String())
	if c.full {
		assert.NoError(t, v.s.FreeDisk())
	}
	if !c.told {
		v.hosts["web"] = host
		v.with = vpstest.System{}
	}
	assert.NoError(t, v.aim())
	if assert.NoError(t, v.recovered(), "the next update") && survived {
		row.Survived = 1
	}
	faults.Report(t, row)
}

// survived: the exit code is the true one, the server is wholly old or, where
// that is right, wholly new, and the person was told the cause, the state and what
// to do next.
func (c trouble) survived(t *testing.T, v *victim, before standing, err error, story string) bool {
	ok := assert.Equal(t, c.code, codeOf(err), "%v\n%s", err, story)
	var f *Failure
	told := story
	if errors.As(err, &f) {
		told += f.Error() + f.State() + f.NextStep().String()
		ok = assert.NotEmpty(t, f.State()) && assert.NotEmpty(t, f.NextStep().String()) && ok
	}
	ok = assert.Contains(t, told, c.says) && ok
	if c.code == CodeDone {
		return assert.NoError(t, v.arrived()) && ok
	}
	return assert.Equal(t, before, standingOf(v.s)) && ok
}

func (c trouble) state(v *victim, before standing) string {
	switch {
	case standingOf(v.s) == before:
		return "wholly old"
	case v.arrived() == nil:
		return "wholly new"
	}
	return "HALF"
}

func lastWords(err error) string {
	var f *Failure
	if !errors.As(err, &f) {
		return "done"
	}
	told := strings.Join([]string{f.Err.Error(), f.State(), f.NextStep().String()}, "; ")
	return strings.ReplaceAll(told, "\n", ": ")
}

// witness tries to log in from the moment at which a new system is activated.
type witness struct {
	mu    sync.Mutex
	begin chan struct{}
	once  *sync.Once
	stop  context.CancelFunc
	away  chan time.Duration
}

func (w *witness) hook(_ *vpstest.Server, c vpstest.Call) {
	if c.Program != "switch-to-configuration" || c.Args[0] != "activate" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.once != nil {
		w.once.Do(func() { close(w.begin) })
	}
}

// watch makes one login after the other until [witness.ended].
func (w *witness) watch(v *victim, h config.Host) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithCancel(v.t.Context())
	w.begin, w.once, w.stop, w.away = make(chan struct{}), &sync.Once{}, cancel, make(chan time.Duration, 1)
	go func() { w.away <- logins(ctx, v, h, w.begin) }()
}

// logins gives the time from the activation to the end of the last login that
// failed, 0 if none did.
func logins(ctx context.Context, v *victim, h config.Host, begin <-chan struct{}) time.Duration {
	select {
	case <-begin:
	case <-ctx.Done():
		return 0
	}
	from, away := time.Now(), time.Duration(0)
	l := &link{p: v.Project, host: h}
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, time.Second)
		client, err := l.login(once, h.Port)
		cancel()
		if err == nil {
			_ = client.Close()
		} else if ctx.Err() == nil {
			away = time.Since(from)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return away
}

// ended stops trying.
func (w *witness) ended() time.Duration {
	w.stop()
	return <-w.away
}
