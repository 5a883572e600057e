package deploy

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The connections of a run, in the order in which a plan makes them.
const (
	mainConnection = "main connection"
	confirmation   = "confirm connection"
	reconnection   = "reconnection"
	secondConfirm  = "confirm connection made again"
)

// stage is a stretch of one connection: what it was doing when a byte passed.
type stage struct{ connection, phase string }

func (s stage) String() string { return s.connection + ": " + s.phase }

// plan is how a run goes apart from the cut under test.
type plan struct {
	connections []string
	first       stage // cut here always, to get at the connection that replaces it
	stages      []stage
	system      vpstest.System
}

// Systems say much, so that every phase has bytes to be cut at.
var talkative = vpstest.System{BuildLines: 20, Output: "restarting the following units: one.service, two.service, three.service"}

func slow(s vpstest.System) vpstest.System {
	// Time to be back before the confirmation begins.
	s.BuildTime, s.Hang = 150*time.Millisecond, 150*time.Millisecond
	return s
}

var plans = []plan{
	{
		connections: []string{mainConnection, confirmation},
		stages: []stage{
			{mainConnection, "login"}, {mainConnection, "facts"}, {mainConnection, "sending"},
			{mainConnection, "staging"}, {mainConnection, "building"}, {mainConnection, "switching"},
			{mainConnection, "confirming"}, {mainConnection, "committing"},
			{confirmation, "login"}, {confirmation, "probe and verdict"},
		},
		system: talkative,
	},
	{
		connections: []string{mainConnection, reconnection},
		first:       stage{mainConnection, "staging"},
		stages:      []stage{{reconnection, "login"}, {reconnection, "following"}},
		system:      slow(talkative),
	},
	{
		connections: []string{mainConnection, confirmation, secondConfirm},
		first:       stage{confirmation, "probe and verdict"},
		stages:      []stage{{secondConfirm, "login"}, {secondConfirm, "probe and verdict"}},
		system:      talkative,
	},
}

// cut is one place to cut at: a part of the way through the bytes of a stage.
type cut struct {
	stage    stage
	at       float64
	toClient bool // the direction
}

// Cut the link after any byte, in either direction, of any connection that an
// update or a rollback makes: the server ends up wholly old or wholly new, the
// client says which, and the next run succeeds without help.
func TestFaultsCutAnywhere(t *testing.T) {
	t.Parallel()
	each := faults.Points(t, 1, 2, 24)  // in each stage
	least := faults.Points(t, 0, 0, 20) // of them that came where they were meant to
	enter := places(4)                  // each has a server, and two processors are few
	for _, kind := range []run.Kind{run.KindUpdate, run.KindRollback} {
		count := newTally(t, fmt.Sprintf("cut anywhere (%s)", kind), stageNames()...)
		t.Cleanup(func() {
			for _, name := range stageNames() {
				assert.GreaterOrEqual(t, count.row(name).Injected, least, "%s: %s", kind, name)
			}
		})
		for i, p := range plans {
			cuts := p.cuts(each)
			if each == 1 {
				cuts = cuts[:max(0, 2-2*i)] // "go test" is to take seconds
			}
			for n, group := range chunks(cuts, 12) {
				t.Run(fmt.Sprintf("%s %d.%d", kind, i, n), func(t *testing.T) {
					t.Parallel()
					enter(t)
					p.endure(t, kind, group, count)
				})
			}
		}
	}
}

func stageNames() []string {
	var names []string
	for _, p := range plans {
		for _, s := range p.stages {
			names = append(names, s.String())
		}
	}
	return names
}

// cuts are mixed, so that each group has some of every stage.
func (p plan) cuts(each int) []cut {
	var list []cut
	for n, at := range spread(each) {
		for i, s := range p.stages {
			list = append(list, cut{stage: s, at: at, toClient: (n+i)%2 == 0})
		}
	}
	return list
}

// endure lets one server endure some cuts.
func (p plan) endure(t *testing.T, kind run.Kind, cuts []cut, count *tally) {
	v := newVictim(t, kind, p.system)
	length, broken := v.measure(p)
	require.NoError(t, broken)
	for _, c := range cuts {
		// What a run says differs a little each time, so a cut may miss its stage.
		for try := 1; try <= 3; try++ {
			w := &watch{plan: p, v: v, cut: &c, length: length}
			broken := v.endure(w.attempt)
			hit := w.where()
			if hit == (stage{}) {
				require.NoError(t, broken, "without a cut")
			} else if !count.add(t, hit.String(), broken, w.story) {
				return
			}
			if hit == c.stage {
				break
			}
			c.at /= 3
		}
	}
}

// measure learns how many bytes each stage has.
func (v *victim) measure(p plan) (map[stage]vpstest.Traffic, error) {
	w := &watch{plan: p, v: v, length: map[stage]vpstest.Traffic{}}
	err := v.endure(w.attempt)
	return w.length, err
}

// watch follows the stages of one attempt, and cuts where it is told to, or
// measures where not.
type watch struct {
	plan   plan
	v      *victim
	cut    *cut
	length map[stage]vpstest.Traffic
	story  *narrator
	base   int // connections before this attempt

	mu    sync.Mutex
	now   map[string]string          // the phase of each connection
	since map[string]vpstest.Traffic // what it had carried when that began
	dead  map[string]bool
	hit   stage // where the cut came
}

func (w *watch) attempt() error {
	w.now, w.since, w.dead = map[string]string{}, map[string]vpstest.Traffic{}, map[string]bool{}
	w.story = w.v.hear(func(phase string) {
		if phase != "" && phase != "login" {
			w.enter(mainConnection, phase)
		}
	})
	w.base = len(w.v.s.Connections())
	w.v.s.SetLinks(w.link)
	defer w.v.s.SetLinks(func(int) vpstest.Link { return vpstest.Link{} })
	err := w.v.attempt()
	for _, c := range w.plan.connections {
		w.enter(c, "over")
	}
	return err
}

// link is called with the server's lock held: it must not ask the server.
func (w *watch) link(n int) vpstest.Link {
	i := n - w.base - 1
	if i < 0 || i >= len(w.plan.connections) {
		return vpstest.Link{}
	}
	name := w.plan.connections[i]
	var asked sync.Once
	link := vpstest.Link{
		// The first command ends the login. The server itself answers it.
		Exec: func(string, io.Reader, io.Writer, io.Writer) (int, bool) {
			asked.Do(func() { w.enter(name, afterLogin[name]) })
			return 0, false
		},
		OnCut: func() { w.cutAt(name) },
	}
	// A login begins with the connection itself.
	if w.cut != nil && w.cut.stage == (stage{name, "login"}) {
		link.CutSent, link.CutReceived = w.bytes()
	}
	return link
}

var afterLogin = map[string]string{mainConnection: "facts", reconnection: "following",
	confirmation: "probe and verdict", secondConfirm: "probe and verdict"}

// enter notes that a connection carries something else from now on.
func (w *watch) enter(connection, phase string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.now[connection]
	if was == phase || was == "over" || w.dead[connection] && phase != "over" {
		return
	}
	if was == "" {
		was = "login"
	}
	n := w.base + 1 + slices.Index(w.plan.connections, connection)
	if all := w.v.s.Connections(); n <= len(all) {
		w.measured(stage{connection, was}, all[n-1])
	}
	w.now[connection] = phase
	entered := stage{connection, phase}
	switch {
	case entered == w.plan.first:
		w.v.s.CutAfter(n, 1, 0)
	case w.cut != nil && entered == w.cut.stage:
		sent, received := w.bytes()
		w.v.s.CutAfter(n, sent, received)
	}
}

func (w *watch) measured(s stage, carried vpstest.Traffic) {
	before := w.since[s.connection]
	w.since[s.connection] = carried
	if w.cut == nil {
		w.length[s] = vpstest.Traffic{Sent: carried.Sent - before.Sent, Received: carried.Received - before.Received}
	}
}

// bytes is how far into its stage the cut comes, in one of both directions.
func (w *watch) bytes() (sent, received int64) {
	length := w.length[w.cut.stage]
	if w.cut.toClient && length.Sent > 0 || length.Received == 0 {
		return 1 + int64(w.cut.at*float64(length.Sent)), 0
	}
	return 0, 1 + int64(w.cut.at*float64(length.Received))
}

func (w *watch) where() stage {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hit
}

// cutAt notes where a cut came. The first of a plan is not the one under test.
func (w *watch) cutAt(connection string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead[connection] = true
	phase := w.now[connection]
	if phase == "" {
		phase = "login"
	}
	// What the client itself has ended already cannot be cut any more.
	if w.plan.first.connection != connection && phase != "over" && w.hit == (stage{}) {
		w.hit = stage{connection, phase}
	}
}
