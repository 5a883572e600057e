package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/require"
)

// victim is a server with its project that endures one fault after another: what
// the last one left is what the next one finds, as in a server's life.
type victim struct {
	*fixture
	s    *vpstest.Server
	kind run.Kind
	with vpstest.System // how its systems behave
	o    UpdateOptions
	turn int
	ends [2]standing // of rollbacks: the two generations to go to and fro
	want standing    // where the present attempt leads; of an update the tree alone
	to   int
}

// standing is all of a server that must be old or new together.
type standing struct {
	Tree, Running, Boots, Profile string
	Generation                    int
	Record                        string // digest of the last commit
}

func standingOf(s *vpstest.Server) standing {
	return standing{Tree: s.TreeDigest(), Running: s.CurrentSystem(), Boots: s.BootDefault(),
		Profile: s.ProfileSystem(), Generation: s.Generation(), Record: s.Record()["digest"]}
}

// newVictim has a server with two generations of ours.
func newVictim(t *testing.T, kind run.Kind, with vpstest.System, options ...vpstest.Option) *victim {
	t.Helper()
	v := &victim{fixture: newFixture(t), kind: kind, with: with, o: quick()}
	v.s = v.server("web", options...)
	for i := range v.ends {
		v.next()
		v.mustUpdate("web")
		v.ends[i] = standingOf(v.s)
	}
	return v
}

// next makes a tree that the server does not have yet.
func (v *victim) next() {
	v.turn++
	v.with.Version = fmt.Sprintf("26.05.%d", v.turn)
	v.behave(v.with)
	v.write("x.nix", fmt.Sprint(v.turn))
}

// aim chooses where the next attempt leads.
func (v *victim) aim() error {
	if v.kind == run.KindRollback {
		v.want = v.ends[0]
		if standingOf(v.s) == v.want {
			v.want = v.ends[1]
		}
		v.to = v.want.Generation
		return nil
	}
	v.next()
	t, err := tree.Collect(v.t.Context(), v.Dir)
	if err != nil {
		return err
	}
	v.want = standing{Tree: t.Manifest().Digest()}
	return nil
}

// attempt is one run of the command.
func (v *victim) attempt() error {
	if v.kind == run.KindRollback {
		_, err := v.Rollback(v.t.Context(), "web", RollbackOptions{To: v.to, UpdateOptions: v.o})
		return err
	}
	_, err := v.Update(v.t.Context(), "web", v.o)
	return err
}

// idle is longer than any run here goes on without its client.
const idle = 60 * time.Second

// endure makes an attempt with a fault in it, and says which promise was broken.
func (v *victim) endure(attempt func() error) error {
	if err := v.aim(); err != nil {
		return err
	}
	before := standingOf(v.s)
	err := attempt()
	if !v.s.WaitIdle(idle) {
		return fmt.Errorf("the server's run does not end (the client: %v)", err)
	}
	if broken := v.whole(before, err); broken != nil {
		return broken
	}
	return v.recovered()
}

// whole: the server is wholly old or wholly new, and the client says which or
// that it does not know.
func (v *victim) whole(before standing, err error) error {
	is, code := standingOf(v.s), codeOf(err)
	switch {
	case code == CodeUnknown:
	case code == CodeUsage || code == CodeBusy:
		return fmt.Errorf("exit code %d: %w", code, err)
	case (err == nil) != (is != before):
		return fmt.Errorf("exit code %d (%w), but the server is %+v after %+v", code, err, is, before)
	}
	if is == before {
		return nil
	}
	return v.arrived()
}

// arrived: the server is wholly what the attempt was to make it.
func (v *victim) arrived() error {
	is := standingOf(v.s)
	if v.kind == run.KindRollback && is != v.want {
		return fmt.Errorf("the server is %+v, neither as it was nor %+v", is, v.want)
	}
	if is.Tree != v.want.Tree || is.Running != is.Boots || is.Boots != is.Profile || is.Record != is.Tree {
		return fmt.Errorf("the server is half of something: %+v, wanted the tree %s", is, v.want.Tree)
	}
	return nil
}

// recovered: the same command succeeds without help, and leaves nothing behind.
func (v *victim) recovered() error {
	if err := v.attempt(); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	if err := v.arrived(); err != nil {
		return fmt.Errorf("after the next run: %w", err)
	}
	left, err := filepath.Glob(v.s.Path("etc/.nixos-vps-*"))
	if len(left) > 0 || v.s.Intent() != nil {
		return errors.Join(fmt.Errorf("left behind: %v, intent %v", left, v.s.Intent()), err)
	}
	return v.readable()
}

// readable: no file that matters is empty.
func (v *victim) readable() error {
	for _, dir := range []string{"etc/nixos", "var/lib/vps/trees", "var/lib/vps/generations"} {
		err := filepath.WalkDir(v.s.Path(dir), func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			if info, err := e.Info(); err == nil && info.Size() == 0 && filepath.Base(path) != vpstest.ConfFile {
				return fmt.Errorf("%s is empty", path)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// --- what the person sees, as events -------------------------------------------------

// phaseLine is how a person is told of a phase.
var phaseLine = regexp.MustCompile(`(?m)^web: ([a-z][a-z -]*)`)

// narrator passes on the phases that the person is told of.
type narrator struct {
	buffer
	heard func(phase string)
}

// hear makes heard follow what the victim's person is told.
func (v *victim) hear(heard func(phase string)) *narrator {
	n := &narrator{heard: heard}
	v.log = observe.To(term.New(strings.NewReader(""), &buffer{}, n).Observer())
	return n
}

func (n *narrator) Write(p []byte) (int, error) {
	for _, m := range phaseLine.FindAllSubmatch(p, -1) {
		n.heard(phaseOf(string(m[1])))
	}
	return n.buffer.Write(p)
}

// phaseOf puts what is said into a few phases.
func phaseOf(said string) string {
	said = strings.TrimSpace(said)
	for _, p := range []struct{ begins, phase string }{
		{"connecting", "login"}, {"sending", "sending"}, {"going back", "sending"},
		{"staging", "staging"}, {"building", "building"}, {"built", "building"},
		{"switch", "switching"}, {"confirm", "confirming"}, {"rolling", "rolling back"},
		{"committing", "committing"},
	} {
		if strings.HasPrefix(said, p.begins) {
			return p.phase
		}
	}
	return ""
}

// --- counting ---------------------------------------------------------------------------

// tally counts what was injected and survived, by case.
type tally struct {
	mu    sync.Mutex
	order []string
	rows  map[string]*faults.Row
}

// newTally reports when the test and its subtests have ended.
func newTally(t *testing.T, area string, cases ...string) *tally {
	t.Helper()
	c := &tally{rows: map[string]*faults.Row{}}
	for _, name := range cases {
		c.row(name)
	}
	t.Cleanup(func() {
		for _, name := range c.order {
			if row := *c.rows[name]; row.Injected > 0 {
				row.Area = area
				faults.Report(t, row)
			}
		}
	})
	return c
}

func (c *tally) row(name string) *faults.Row {
	if c.rows[name] == nil {
		c.rows[name] = &faults.Row{Case: name}
		c.order = append(c.order, name)
	}
	return c.rows[name]
}

// add counts one fault, and fails the test with what it broke.
func (c *tally) add(t *testing.T, name string, broken error, story fmt.Stringer) bool {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	row := c.row(name)
	row.Injected++
	if broken == nil {
		row.Survived++
		return true
	}
	t.Errorf("%s: %v\n%s", name, broken, story)
	return false
}

// places bounds how many victims there are at once: each runs many programs.
func places(n int) func(*testing.T) {
	slots := make(chan struct{}, n)
	return func(t *testing.T) {
		slots <- struct{}{}
		t.Cleanup(func() { <-slots })
	}
}

// spread gives n numbers in [0, 1), evenly apart for any number of the first.
func spread(n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		x := float64(i+1) * 0.6180339887498949
		list[i] = x - float64(int(x))
	}
	return list
}

// chunks cuts a list into pieces of at most size.
func chunks[T any](list []T, size int) [][]T { return slices.Collect(slices.Chunk(list, size)) }

func TestPhasesAreRecognised(t *testing.T) {
	t.Parallel()
	var heard []string
	f := newFixture(t)
	v := &victim{fixture: f, s: f.server("web")}
	v.hear(func(phase string) {
		if phase != "" && !slices.Contains(heard, phase) {
			heard = append(heard, phase)
		}
	})
	v.mustUpdate("web")
	require.Equal(t, []string{"login", "sending", "staging", "building", "switching", "confirming", "committing"}, heard)
}
