package e2e_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// moment is so far into the time that a phase of a run takes.
type moment struct {
	phase string
	at    float64
}

// The phases as the person is told of them; the commit is where what persists is
// changed, so it is met more often.
var serverPhases = []string{"sending", "staging", "building", "switching", "confirming", "committing", "committing"}

func moments(n int) []moment {
	list := make([]moment, n)
	for i := range list {
		at := float64(i+1) * 0.6180339887498949
		list[i] = moment{serverPhases[(i*3+5)%len(serverPhases)], at - float64(int(at))}
	}
	return list
}

// Kill the server at any moment of an update and start it again: it is wholly old
// or wholly new, the client says which, and the next run succeeds.
func TestFaultsKilledServer(t *testing.T) {
	t.Parallel()
	endureMoments(t, "server killed (docker kill) and started again", moments(faults.Points(t, 1, 3, 50)), nil,
		func(s *e2e.Server, _ int) { s.Kill() })
}

// Cut its power instead, so that what it had not synced is lost: what boots is the
// last confirmed system with its tree, and no file is empty.
func TestFaultsPowerCut(t *testing.T) {
	t.Parallel()
	endureMoments(t, "power cut (ext4 stopped at once)", moments(faults.Points(t, 1, 3, 50)), []e2e.Option{e2e.OnDisk()},
		func(s *e2e.Server, n int) { s.CutPower(n%2 == 0) })
}

// endureMoments shares the moments between servers, each of which endures ten.
func endureMoments(t *testing.T, area string, list []moment, options []e2e.Option, strike func(*e2e.Server, int)) {
	e2e.Require(t, "docker")
	slots := make(chan struct{}, 2)
	for first := 0; first < len(list); first += 10 {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			v := newVictim(t, e2e.Start(t, options...))
			for i, m := range list[first:min(first+10, len(list))] {
				v.endure(area, m, func() { strike(v.s, i) })
			}
		})
	}
}

// victim is a server that endures one fault after another.
type victim struct {
	*laptop
	s      *e2e.Server
	number int
	length map[string]time.Duration // of the phases, in a run that nobody disturbs
	told   *told
}

func newVictim(t *testing.T, s *e2e.Server) *victim {
	t.Helper()
	v := &victim{laptop: newLaptop(t, s), s: s, length: map[string]time.Duration{}}
	v.files.Write("nix/units/vps-recover.service", recovery)
	for i := range 20 {
		v.files.Write(fmt.Sprintf("nix/many/%d.nix", i), strings.Repeat("{ }\n", i+1))
	}
	v.mustUpdate()
	v.change()
	v.listen(moment{})
	v.mustUpdate()
	v.told.enter("")
	v.length = v.told.length
	return v
}

// change makes the tree another one.
func (v *victim) change() {
	v.number++
	v.files.Set("note", fmt.Sprint("number ", v.number))
	v.files.Write("nix/many/1.nix", strings.Repeat("{ }\n", v.number+1))
	v.files.Write(fmt.Sprintf("nix/more/%d.nix", v.number), "{ }\n")
}

// endure updates, strikes at the moment, and looks at what that leaves.
func (v *victim) endure(area string, m moment, strike func()) {
	v.t.Helper()
	before := stand(v.s)
	v.change()
	v.listen(m)
	ended := v.begin(v.t.Context(), brisk())
	var end *outcome
	select {
	case <-v.told.reached:
		time.Sleep(time.Duration(m.at * float64(v.length[m.phase]))) // the moment is what is tested
	case e := <-ended:
		end = &e
	}
	phase := v.told.phase()
	strike()
	v.s.Boot()
	v.s.Await("[ ! -e /var/lib/vps/intent ] && ! systemctl is-active vps-recover | grep -q activating", time.Minute)
	if end == nil {
		e := v.wait(ended)
		end = &e
	}
	row := faults.Row{Area: area, Case: phase, Injected: 1}
	if v.whole(before, end.err) && v.recovered() {
		row.Survived = 1
	}
	faults.Report(v.t, row)
	require.Equal(v.t, 1, row.Survived, "%s at %.2f of it: the client said %v\n%s", phase, m.at, end.err, v.told)
}

// whole: what runs is what boots, with its tree, and the client said which.
func (v *victim) whole(before standing, err error) bool {
	v.t.Helper()
	is := stand(v.s)
	ok := assert.Empty(v.t, v.s.Exec("find /etc/nixos /var/lib/vps/trees /var/lib/vps/generations /var/lib/vps/record -path '*/.new' -prune -o -type f -empty -print"))
	if deploy.ExitStatus(err) != int(deploy.CodeUnknown) {
		ok = assert.Equal(v.t, is == before, err != nil, "the client said %v", err) && ok
	}
	if is == before {
		return ok
	}
	return assert.Equal(v.t, v.tree(), is.Tree) && assert.Equal(v.t, is.Profile, is.Current) &&
		assert.Equal(v.t, is.Profile, is.Default) && ok
}

// recovered: the same command succeeds without help.
func (v *victim) recovered() bool {
	v.t.Helper()
	_, err := v.update(brisk())
	if !assert.NoError(v.t, err, "the next run") {
		return false
	}
	is := stand(v.s)
	return assert.Equal(v.t, v.tree(), is.Tree) && assert.Equal(v.t, is.Profile, is.Current) &&
		assert.Equal(v.t, is.Profile, is.Default)
}

// told is what the person is told, and when each phase began.
type told struct {
	story
	want    moment
	reached chan struct{}

	mu     sync.Mutex
	now    string
	since  time.Time
	length map[string]time.Duration
}

// listen begins to follow what the person is told.
func (v *victim) listen(m moment) {
	v.told = &told{want: m, reached: make(chan struct{}), length: map[string]time.Duration{}}
	p := openProject(v.t, v.files, v.told)
	p.Dialer, p.Who, p.From = v.Dialer, v.Who, v.From
	v.Project = p
}

var phaseLine = regexp.MustCompile(`(?m)^web: ([a-z]+)`)

func (w *told) Write(p []byte) (int, error) {
	for _, m := range phaseLine.FindAllSubmatch(p, -1) {
		w.enter(string(m[1]))
	}
	return w.story.Write(p)
}

func (w *told) enter(phase string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if phase == "confirmed" || phase == w.now {
		return
	}
	w.length[w.now] += time.Since(w.since)
	w.now, w.since = phase, time.Now()
	if phase == w.want.phase {
		w.want.phase = ""
		close(w.reached)
	}
}

func (w *told) phase() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}
