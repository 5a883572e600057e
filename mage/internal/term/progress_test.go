package term

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProgressInAPipe(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	u, out, story := piped(WithClock(func() time.Time { return now }))
	p := u.Progress("web-1", "db-1")
	web, db := p.Host("web-1"), p.Host("db-1")
	web.Phase("connect")
	web.Phase("connect")
	db.Phase("connect")
	web.Phase("build")
	web.Output([]byte("copying \x1b[1mpa"))
	web.Output([]byte("th\x1b[0m\r\n\n10%\r50%\r100%\nhalf"))
	now = now.Add(62 * time.Second)
	u.Info("a remark")
	db.Done("", errors.New("refused\nat length"))
	web.Done("switched", nil)
	web.Done("twice", nil)
	web.Phase("late")
	fmt.Fprintln(web, "late")
	p.Close()
	p.Close()
	assert.Equal(t, `web-1: connect …
db-1: connect …
web-1: build …
web-1:   copying path
web-1:
web-1:   100%
a remark
db-1: failed: refused (1:02)
web-1:   half
web-1: switched (1:02)
`, story.String())
	assert.Empty(t, out.String())
}

func TestProgressOnADumbTerminalIsPlain(t *testing.T) {
	t.Parallel()
	u, _, story := piped(WithTerminal(80, 24), WithEnv(env("TERM", "dumb")))
	p := u.Progress("web-1")
	p.Host("web-1").Phase("build")
	p.Close()
	assert.Equal(t, "web-1: build …\n", story.String())
}

// onScreen is a UI on a screen, in a bubble where time is ours. It has no
// colour, for the tests to read.
func onScreen(t *testing.T, width, height int, options ...Option) (*UI, *screen) {
	s := newScreen(t, width, height)
	options = append([]Option{WithTerminal(width, height), WithEnv(env("NO_COLOR", "1"))}, options...)
	return New(strings.NewReader(""), s, s, options...), s
}

func tick(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, s := onScreen(t, 40, 24)
		p := u.Progress("web-1", "database")
		web, db := p.Host("web-1"), p.Host("database")
		web.Phase("build")
		db.Phase("connect")
		tick(time.Second)
		assert.Equal(t, "web-1      0:01  build\ndatabase   0:01  connect\n", s.text())
		fmt.Fprintf(web, "copying path '/nix/store/abcdef'\n\n")
		tick(time.Second)
		assert.Equal(t, "web-1      0:02  build  copying path '…\ndatabase   0:02  connect\n", s.text())
		u.Info("a remark that is longer than the screen is wide")
		db.Done("", errors.New("refused"))
		tick(61 * time.Second)
		assert.Equal(t, "a remark that is longer than the screen \nis wide\ndatabase   0:02  failed: refused\n"+
			"web-1      1:03  build  copying path '…\n", pinned(s.text()))
		web.Done("switched", nil)
		p.Close()
		assert.Equal(t, "a remark that is longer than the screen \nis wide\ndatabase   0:02  failed: refused\n"+
			"web-1      1:03  switched\n", pinned(s.text()))
		u.Info("after")
		assert.True(t, strings.HasSuffix(s.text(), "switched\nafter\n"), s.text())
	})
}

// pinned restores the blank that ends the first row of the long remark.
func pinned(text string) string {
	return strings.Replace(text, "the screen\nis", "the screen \nis", 1)
}

func TestProgressOfOneHostScrollsItsOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, s := onScreen(t, 20, 4)
		p := u.Progress("web-1")
		web := p.Host("web-1")
		web.Phase("build")
		for i := range 6 {
			fmt.Fprintf(web, "line %d\n", i)
			tick(frame)
		}
		fmt.Fprint(web, "a line that takes two rows\n")
		tick(frame)
		assert.Equal(t, "line 0\nline 1\nline 2\nline 3\nline 4\nline 5\na line that takes tw\no rows\nweb-1   0:00  build\n", s.text())
		p.Close()
	})
}

func TestProgressDrawsAtMostTenTimesASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, s := onScreen(t, 80, 24)
		p := u.Progress("web-1", "db-1")
		web := p.Host("web-1")
		for i := range 1000 {
			fmt.Fprintf(web, "%d\n", i)
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		assert.LessOrEqual(t, s.count(), 10)
		before := s.count()
		tick(10 * time.Second)
		assert.LessOrEqual(t, s.count()-before, 11, "nothing changes but the seconds")
		p.Close()
	})
}

func TestProgressOfMoreHostsThanRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, s := onScreen(t, 80, 6)
		p := u.Progress()
		var lines []*Line
		for i := range 9 {
			l := p.Host(fmt.Sprintf("web-%d", i))
			l.Phase("build")
			lines = append(lines, l)
		}
		tick(5 * time.Second)
		assert.Equal(t, "web-0   0:05  build\nweb-1   0:05  build\nweb-2   0:05  build\n… and 6 more\n", s.text())
		for _, l := range lines {
			l.Done("", nil)
			tick(frame)
		}
		p.Close()
		assert.Equal(t, 9, strings.Count(s.text(), "0:05  done\n"))
		assert.NotContains(t, s.text(), "more")
	})
}

// A window that is made narrower moves the rest of each line to another row.
func TestProgressCountsTheRowsOfANarrowedWindow(t *testing.T) {
	t.Parallel()
	u, _ := onScreen(t, 80, 24)
	p := newLive(u, nil)
	p.drawn = []string{strings.Repeat("x", 79), "short"}
	assert.Equal(t, "\r\x1b[2A", p.up(80))
	assert.Equal(t, "\r\x1b[3A", p.up(40))
	assert.Equal(t, "\r\x1b[5A", p.up(20))
}

func TestAnswersAndSecondDisplaysKeepLiveLinesWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, s := onScreen(t, 40, 10)
		p := u.Progress("a", "b")
		p.Host("a").Phase("build")
		tick(frame)
		u.Answer("the answer")
		second := u.Progress("c")
		second.Host("c").Phase("copy")
		tick(frame)
		assert.Equal(t, "the answer\nc: copy …\na   0:00  build\n", s.text())
		second.Close()
		p.Close()
		p.Host("d").Phase("late")
		assert.True(t, strings.HasSuffix(s.text(), "build\nd: late …\n"), s.text())
	})
}

func TestLinesThatOutliveTheDisplayAreHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, s := onScreen(t, 40, 10)
		p := u.Progress("a")
		a := p.Host("a")
		a.Phase("build")
		p.Close()
		a.Done("", errors.New("interrupted"))
		assert.Equal(t, "a   0:00  build\na: failed: interrupted (0:00)\n", s.text())
	})
}

func TestProgressIsPainted(t *testing.T) {
	t.Parallel()
	u, _, story := piped(WithTerminal(80, 24), WithClock(func() time.Time { return time.Unix(0, 0) }))
	p := u.Progress("a", "b")
	a, b := p.Host("a"), p.Host("b")
	a.Phase("build")
	fmt.Fprintln(a, "copying")
	b.Done("", nil)
	p.Close()
	assert.Contains(t, story.String(), "b   0:00  \x1b[32mdone\x1b[0m\n")
	assert.Contains(t, story.String(), "a   0:00  build\x1b[2m  copying\x1b[0m\x1b[K\n")
}

func TestOutputWithoutLineBreaksIsBounded(t *testing.T) {
	t.Parallel()
	u, _, story := piped()
	l := u.Progress("a").Host("a")
	l.Output([]byte(strings.Repeat("x", maxPartial)))
	assert.Equal(t, 1, strings.Count(story.String(), "\n"))
	assert.Empty(t, l.partial)
}

func TestElapsed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	u, _, _ := piped(WithClock(func() time.Time { return now }))
	l := u.Progress("a").Host("a")
	for after, want := range map[time.Duration]string{
		0: "0:00", 59*time.Second + 999*time.Millisecond: "0:59", 10 * time.Minute: "10:00",
		time.Hour + 62*time.Second: "1:01:02", -time.Hour: "0:00",
	} {
		now = time.Unix(1000, 0).Add(after)
		assert.Equal(t, want, l.elapsed())
	}
}

// It is for the race detector.
func TestProgressFromManyGoroutines(t *testing.T) {
	t.Parallel()
	u, _, _ := piped(WithTerminal(80, 24))
	p := u.Progress("a", "b")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			l := p.Host(fmt.Sprint(i))
			for j := range 50 {
				l.Phase(fmt.Sprint(j))
				fmt.Fprintln(l, "x")
				u.Info("y")
			}
			l.Done("", nil)
		})
	}
	wg.Wait()
	p.Close()
}
