package deploy

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/require"
)

// hunter kills the supervisor at one of the programs that it calls, or counts them.
type hunter struct {
	mu     sync.Mutex
	began  bool // the supervisor was started
	calls  int
	at     int    // 0: only count
	killed string // the phase in which it was killed
}

// The programs whose calls are moments: those that change something.
var changing = []string{"mv", "ln", "rm", "cp", "mkdir", "cat"}

func (h *hunter) hook(s *vpstest.Server, c vpstest.Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case c.Program == "systemd-run" && strings.Contains(c.String(), "--unit=vps-run-"):
		h.began = true
	case h.began && h.killed == "":
		if h.calls++; h.calls == h.at && s.KillSupervisor() {
			h.killed = serverPhase(s)
		}
	}
}

func (h *hunter) reset(at int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.began, h.calls, h.at, h.killed = false, 0, at, ""
}

func (h *hunter) result() (calls int, killed string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls, h.killed
}

// serverPhase is how far the newest run came.
func serverPhase(s *vpstest.Server) string {
	runs := s.Runs()
	if len(runs) == 0 {
		return "start"
	}
	lines := strings.Split(strings.TrimSpace(s.RunFile(runs[len(runs)-1], "status")), "\n")
	status, err := run.ParseStatus(lines[len(lines)-1])
	if err != nil || status.Phase == "" {
		return "start"
	}
	return status.Phase
}

// Kill the supervisor at any program that it calls, of an update, of a rollback,
// and of an update that it is rolling back: the watchdog, the client or the next
// run decide what it left, and the client is told the end.
func TestFaultsKilledSupervisor(t *testing.T) {
	faults.Asked(t)
	t.Parallel()
	points := faults.Points(t, 1, 3, 20) // of each kind
	enter := places(6)                   // most only wait for a deadline
	for _, c := range []struct {
		name string
		kind run.Kind
		bad  bool
	}{{"update", run.KindUpdate, false}, {"rollback", run.KindRollback, false}, {"update that fails", run.KindUpdate, true}} {
		count := newTally(t, fmt.Sprintf("supervisor killed (%s)", c.name))
		for n, group := range chunks(spread(points), 10) {
			t.Run(fmt.Sprintf("%s %d", c.name, n), func(t *testing.T) {
				t.Parallel()
				enter(t)
				killSupervisors(t, c.kind, c.bad, group, count)
			})
		}
	}
}

func killSupervisors(t *testing.T, kind run.Kind, bad bool, moments []float64, count *tally) {
	h := &hunter{}
	v := newVictim(t, kind, vpstest.System{}, vpstest.WithHook(h.hook), vpstest.WithTrace(changing...))
	story := v.hear(func(string) {})
	v.o.Confirm, v.o.SwitchTimeout = 3*time.Second, 4*time.Second
	endure := v.endure
	if bad {
		endure = v.endureBad
	}
	h.reset(0)
	total := 0
	require.NoError(t, endure(func() error {
		err := v.attempt()
		total, _ = h.result()
		return err
	}))
	for _, at := range moments {
		h.reset(1 + int(at*float64(total)))
		broken := endure(func() error {
			err := v.attempt()
			h.mu.Lock()
			h.at = 0 // the next run is left alone
			h.mu.Unlock()
			return err
		})
		_, phase := h.result()
		if phase == "" {
			require.NoError(t, broken, "not killed")
			continue
		}
		if !count.add(t, phase, broken, story) {
			return
		}
	}
}

// endureBad attempts what cannot succeed, and then something that can.
func (v *victim) endureBad(attempt func() error) error {
	good := v.with
	v.with.Exit = 2
	if err := v.aim(); err != nil {
		return err
	}
	v.with = good
	before := standingOf(v.s)
	err := attempt()
	if !v.s.WaitIdle(idle) {
		return fmt.Errorf("the server's run does not end (the client: %v)", err)
	}
	if is := standingOf(v.s); is != before {
		return fmt.Errorf("the server is %+v after %+v (%w)", is, before, err)
	}
	if err == nil || codeOf(err) == CodeBusy {
		return errors.Join(errors.New("not told that it failed"), err)
	}
	if err := v.aim(); err != nil {
		return err
	}
	return v.recovered()
}
