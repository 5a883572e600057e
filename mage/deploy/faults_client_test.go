package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/require"
)

// clientVariable makes a process of this test a client that can be killed.
const clientVariable = "VPS_FAULTS_CLIENT"

// order is what such a client is told to do.
type order struct {
	Dir  string
	Host config.Host
	Kind run.Kind
	To   int
	UpdateOptions
}

// obey is the life of a client that can be killed.
func obey(text string) int {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return int(CodeUsage)
	}
	p := &Project{
		Dir: o.Dir, config: config.Default(), resolver: only(o.Host), log: observe.To(term.New(strings.NewReader(""), os.Stdout, os.Stderr).Observer()),
		Dialer: &remote.Dialer{Home: o.Dir}, Who: "alice", From: "laptop", allowExample: true,
	}
	go func() { // a client does not outlive the test
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(int(CodeUnknown))
	}()
	var err error
	if o.Kind == run.KindRollback {
		_, err = p.Rollback(context.Background(), "web", RollbackOptions{To: o.To, UpdateOptions: o.UpdateOptions})
	} else {
		_, err = p.Update(context.Background(), "web", o.UpdateOptions)
	}
	return ExitStatus(err)
}

// only knows one host.
type only config.Host

func (o only) Resolve(context.Context, string) ([]config.Host, error) {
	return []config.Host{config.Host(o)}, nil
}

func (o only) ResolveOne(context.Context, string) (config.Host, error) { return config.Host(o), nil }

// A moment to kill a client at: so far into the time that a phase takes.
type moment struct {
	phase string
	at    float64
	now   bool // the next run comes at once; else when the server is at rest
}

var clientPhases = []string{"start", "login", "sending", "staging", "building", "switching", "confirming", "committing"}

// Kill the client at any moment: the server ends up wholly old or wholly new by
// itself, and the next run succeeds without help, be it at once, when it may find
// the dead client's run still going on, or later.
func TestFaultsKilledClient(t *testing.T) {
	faults.Asked(t)
	if text := os.Getenv(clientVariable); text != "" {
		os.Exit(obey(text))
	}
	t.Parallel()
	each := faults.Points(t, 1, 1, 13) // in each phase, of updates and of rollbacks
	enter := places(6)                 // half of them only wait for a deadline
	var moments []moment
	for n, at := range spread(each) {
		for i, phase := range clientPhases {
			moments = append(moments, moment{phase: phase, at: at, now: (n+i)%2 == 0})
		}
	}
	for i, kind := range []run.Kind{run.KindUpdate, run.KindRollback} {
		count := newTally(t, fmt.Sprintf("client killed (%s)", kind), clientPhases...)
		if faults.Points(t, 0, 1, 1) == 0 {
			moments = []moment{{phase: []string{"building", "committing"}[i], now: i == 0}}
		}
		for n, group := range chunks(moments, 8) {
			t.Run(fmt.Sprintf("%s %d", kind, n), func(t *testing.T) {
				t.Parallel()
				enter(t)
				killClients(t, kind, group, count)
			})
		}
	}
}

func killClients(t *testing.T, kind run.Kind, moments []moment, count *tally) {
	v := newVictim(t, kind, vpstest.System{BuildLines: 5, BuildTime: 50 * time.Millisecond, Stall: 50 * time.Millisecond})
	v.o.Confirm = 3 * time.Second
	length := map[string]time.Duration{}
	require.NoError(t, v.endure(func() error { return newClient(v, moment{}, length).run() }))
	for _, m := range moments {
		c := newClient(v, m, length)
		broken := v.endure(func() error { return c.killed() })
		if !count.add(t, c.phase, broken, &c.story) {
			return
		}
	}
}

// client is a process that runs the victim's next attempt.
type client struct {
	v      *victim
	m      moment
	length map[string]time.Duration // of the phases, learnt from a run that nobody kills
	cmd    *exec.Cmd
	story  buffer
	phase  string // the last that it told of
	since  time.Time
	once   sync.Once
	reach  chan struct{} // closed when the phase of the moment begins
}

func newClient(v *victim, m moment, length map[string]time.Duration) *client {
	return &client{v: v, m: m, length: length, reach: make(chan struct{})}
}

// Write hears what the client says. exec calls it from one goroutine.
func (c *client) Write(p []byte) (int, error) {
	for _, m := range phaseLine.FindAllSubmatch(p, -1) {
		c.enter(phaseOf(string(m[1])))
	}
	return c.story.Write(p)
}

func (c *client) enter(phase string) {
	if phase == "" || phase == c.phase {
		return
	}
	if c.m.phase == "" {
		c.length[c.phase] += time.Since(c.since)
	}
	c.phase, c.since = phase, time.Now()
	if phase == c.m.phase {
		c.once.Do(func() { close(c.reach) }) // "confirmed" may be told after the commit began
	}
}

func (c *client) start() error {
	text, err := json.Marshal(order{Dir: c.v.Dir, Host: c.v.hosts["web"], Kind: c.v.kind, To: c.v.to, UpdateOptions: c.v.o})
	if err != nil {
		return err
	}
	c.cmd = exec.Command(os.Args[0], "-test.run=^TestFaultsKilledClient$")
	c.cmd.Env = append(os.Environ(), clientVariable+"="+string(text), "HOME="+c.v.Dir, "SSH_AUTH_SOCK=")
	c.cmd.Stdout, c.cmd.Stderr = &bytes.Buffer{}, c
	if _, err := c.cmd.StdinPipe(); err != nil {
		return err
	}
	c.enter("start")
	return c.cmd.Start()
}

// run lets the client come to its end.
func (c *client) run() error {
	if err := c.start(); err != nil {
		return err
	}
	err := c.cmd.Wait()
	c.enter("end")
	if err != nil {
		return fmt.Errorf("%w: %s", err, &c.story)
	}
	return nil
}

// killed kills it at its moment. A client that has ended before said what it did.
func (c *client) killed() error {
	if err := c.start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.cmd.Wait() }()
	select {
	case <-c.reach:
		select {
		case <-time.After(time.Duration(c.m.at * float64(c.length[c.m.phase]))):
		case err := <-ended:
			return err
		}
	case err := <-ended:
		return errors.Join(err, errors.New("the client never came to "+c.m.phase))
	}
	_ = c.cmd.Process.Kill()
	if err := <-ended; err == nil {
		return nil
	}
	return c.afterwards()
}

// afterwards: a dead client says nothing, which counts as "unknown".
func (c *client) afterwards() error {
	silent := &Failure{Host: "web", Code: CodeUnknown, Err: errors.New("killed")}
	if !c.m.now {
		return silent
	}
	if err := c.v.attempt(); err != nil {
		return &Failure{Host: "web", Code: CodeUsage, Err: fmt.Errorf("the run right after: %w", err)}
	}
	return nil
}
