package deploy

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	hostileArea = "hostile servers"
	// What a hostile server may make us use, and how long it may hold us up with
	// the deadlines that these tests set.
	hostileMemory = 64 << 20
	hostileTime   = 30 * time.Second
)

// An attack is a server that does something other than what it was asked for.
type attack struct {
	name string
	link vpstest.Link
}

// firstAttacks are those that meet the first thing that a command asks.
func firstAttacks(t *testing.T) []attack {
	return []attack{
		{"nothing after connecting", vpstest.Link{Silent: true}},
		{"nothing after the login", vpstest.Link{Mute: true}},
		{"nothing after the question", answering(silence(t))},
		{"greeting of a megabyte", vpstest.Link{Greeting: bytes.Repeat([]byte("welcome\r\n"), 1<<20/9)}},
		{"banner of a megabyte", vpstest.Link{Banner: strings.Repeat("welcome\r\n", 1<<20/9)}},
		{"endless lines", answering(endless("m=welcome\n"))},
		{"endless line", answering(endless("m=welcome"))},
		{"endless errors", answering(func(_ io.Reader, _, stderr io.Writer) { flood(stderr, "no\n") })},
		{"garbage", answering(says("\x00\xff\xfe=\x1b]0;owned\a\nfacts=1\nuid=\x1b[2Jroot\nend\n"))},
		{"numbers beyond all bounds", answering(says("facts=1\nnixos=1\narch=x86_64\ngeneration=99999999999999999999\nend\n"))},
		{"manifest of a million lines", answering(millionLines)},
		{"list of a million units", answering(endless("unit=system a.service failed\ngeneration=1\nopen=x\nmount=/ ext4\ncertificate=/x\n"))},
		{"nothing at all, and well", answering(says(""))},
		{"end too early", answering(says("facts=1\nnixos=1\narch=x86_64\ncurrent=/nix/st"))},
	}
}

// answering answers every command with speak, which reads the question first.
func answering(speak func(stdin io.Reader, stdout, stderr io.Writer)) vpstest.Link {
	return vpstest.Link{Exec: func(_ string, stdin io.Reader, stdout, stderr io.Writer) (int, bool) {
		speak(stdin, stdout, stderr)
		return 0, true
	}}
}

func silence(t *testing.T) func(io.Reader, io.Writer, io.Writer) {
	return func(io.Reader, io.Writer, io.Writer) { <-t.Context().Done() }
}

func says(text string) func(io.Reader, io.Writer, io.Writer) {
	return func(stdin io.Reader, stdout, _ io.Writer) {
		go func() { _, _ = io.Copy(io.Discard, stdin) }()
		_, _ = io.WriteString(stdout, text)
	}
}

func endless(text string) func(io.Reader, io.Writer, io.Writer) {
	return func(_ io.Reader, stdout, _ io.Writer) { flood(stdout, text) }
}

// flood writes until nobody listens any more.
func flood(w io.Writer, text string) {
	block := []byte(strings.Repeat(text, 32<<10/len(text)))
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

func millionLines(stdin io.Reader, stdout, _ io.Writer) {
	go func() { _, _ = io.Copy(io.Discard, stdin) }()
	_, _ = io.WriteString(stdout, "facts=1\nnixos=1\narch=x86_64\ntree=dir\nfree.nix=9999999\nfree.etc=9999999\nfree.state=9999999\n")
	var block bytes.Buffer
	for i := range 1_000_000 {
		fmt.Fprintf(&block, "m=f %064x many/%07d\n", i, i)
		if block.Len() > 32<<10 {
			if _, err := stdout.Write(block.Bytes()); err != nil {
				return
			}
			block.Reset()
		}
	}
	_, _ = io.WriteString(stdout, "end\n")
}

// A hosted command is one that asks a server first of all.
type hosted struct {
	name string
	run  func(*candidate) error
}

var hostedCommands = []hosted{
	{"update", func(c *candidate) error { _, err := c.update("web", quick()); return err }},
	{"status", func(c *candidate) error { _, err := c.Status(c.t.Context(), "web", 8); return err }},
	{"diff", func(c *candidate) error { _, err := c.Diff(c.t.Context(), "web"); return err }},
	{"rollback", func(c *candidate) error { _, err := c.Rollback(c.t.Context(), "web", back(0)); return err }},
	{"generations", func(c *candidate) error { _, err := c.Generations(c.t.Context(), "web"); return err }},
	{"check", func(c *candidate) error {
		for _, f := range c.check(c.t.Context(), nil, CheckOptions{Host: "web", Offline: true}) {
			if strings.HasPrefix(f.Name, "web: ") && f.Status == "fail" {
				return fmt.Errorf("%s: %s", f.Name, f.Detail)
			}
		}
		return nil
	}},
	{"bootstrap", func(c *candidate) error {
		c.config.Install.Deadlines = map[string]time.Duration{"look": time.Second}
		return c.bootstrap()
	}},
}

// Whatever a server says or does not say, each command that asks it something
// ends in an error, soon, with little memory, and nothing that it said reaches
// the terminal raw. Without VPS_FAULTS each attack meets one command.
func TestFaultsHostileServers(t *testing.T) {
	every := faults.Points(t, 7, 2, 1)
	for i, a := range firstAttacks(t) {
		for j, c := range hostedCommands {
			if (i+j)%every == 0 {
				t.Run(a.name+"/"+c.name, func(t *testing.T) { meet(t, firstAttacks(t)[i], c) })
			}
		}
	}
}

func meet(t *testing.T, a attack, cmd hosted) {
	c := newCandidate(t, "exit 1")
	if cmd.name != "bootstrap" {
		c.hosts["web"] = asInstalled(c)
	}
	c.server.SetLinks(func(int) vpstest.Link { return a.link })
	c.impatient()
	var err error
	grew, took := measured(func() { err = cmd.run(c) })

	require.Error(t, err)
	term.New(strings.NewReader(""), &buffer{}, c.story).Error(err)
	assert.Less(t, took, hostileTime)
	assert.Less(t, grew, int64(hostileMemory), "bytes of heap")
	if cmd.name != "check" { // its findings have hints of their own
		var f *Failure
		require.ErrorAs(t, err, &f)
		assert.Contains(t, []Code{CodeFailed, CodeUnreachable}, f.Code, "%v", err)
		assert.NotEmpty(t, f.State(), "%v", err)
		assert.NotEmpty(t, f.NextStep().String(), "%v", err)
	}
	harmless(t, c.story.String())
	assert.False(t, c.ran(), "the installer was started")
	assert.Empty(t, c.server.Runs())
	survived(t, a.name, took, grew)
}

// asInstalled is the candidate's server where its system is declared to be.
func asInstalled(c *candidate) config.Host {
	h := c.hosts["web"]
	h.Port, h.HostKey = c.server.Port(), c.server.HostKeyLine()
	return h
}

// impatient shortens what a person would wait for.
func (f *fixture) impatient() {
	f.Dialer.HandshakeTimeout = time.Second
	f.bounds = run.Bounds{Answer: 500 * time.Millisecond, Build: 2 * time.Second, Margin: time.Second, Log: 1 << 20, Rate: 1 << 20}
}

// survived writes one attack down, if nothing failed.
func survived(t *testing.T, name string, took time.Duration, grew int64) {
	row := faults.Row{Area: hostileArea, Case: name, Injected: 1,
		Detail: fmt.Sprintf("last: error after %.1f s, %d MB", took.Seconds(), grew>>20)}
	if !t.Failed() {
		row.Survived = 1
	}
	faults.Report(t, row)
}

// measured runs do, and tells by how much the heap grew at most, and the time.
func measured(do func()) (grew int64, took time.Duration) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}()
	began := time.Now()
	do()
	took = time.Since(began)
	close(stop)
	<-done
	return int64(most - before), took
}

// harmless checks that a terminal shows a text and does nothing else.
func harmless(t *testing.T, text string) {
	t.Helper()
	for i, r := range text {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
			assert.Fail(t, "a control character reached the terminal", "%q in %q", r, text[max(0, i-40):min(len(text), i+40)])
			return
		}
	}
}

// A midAttack is a server that starts a run as it should, and then answers the
// commands named by call with something else.
type midAttack struct {
	name, call string
	speak      func(stdin io.Reader, stdout, stderr io.Writer)
	codes      []Code
	says       string
}

// What is said of a server that does not end its run.
const inTime = "did not end the run"

// patient is a deadline that decides nothing, on a slow machine either, and is less
// than hostileTime.
const patient = 25 * time.Second

// What commands are told apart by: the script that their shell is given.
const (
	callFollow  = "set -- 'follow'"
	callProbe   = "set -- 'probe'"
	callSession = "AGE_KEY=" // facts, and a shell that may take orders
)

// called says whether a command is the one that is named, and gives its input whole.
func called(call string, stdin io.Reader) (bool, io.Reader) {
	start := make([]byte, 64)
	n, _ := io.ReadAtLeast(stdin, start, len("{\n"+callFollow))
	return strings.Contains(string(start[:n]), call), io.MultiReader(bytes.NewReader(start[:n]), stdin)
}

// ofLog says that an attack shows the run as it is, and its log as it pleases.
const ofLog = "log"

func midAttacks(t *testing.T) []midAttack {
	held := func(text string) func(io.Reader, io.Writer, io.Writer) {
		return func(_ io.Reader, stdout, _ io.Writer) {
			_, _ = io.WriteString(stdout, text)
			<-t.Context().Done()
		}
	}
	unknown, undone := []Code{CodeUnknown}, []Code{CodeRolledBack}
	inLog := func(text string, more func(io.Reader, io.Writer, io.Writer)) func(io.Reader, io.Writer, io.Writer) {
		return func(stdin io.Reader, _, stderr io.Writer) {
			_, _ = io.WriteString(stderr, text)
			more(stdin, stderr, nil)
		}
	}
	return []midAttack{
		{"status: nothing", callFollow, silence(t), unknown, inTime},
		{"status: endless garbage", callFollow, endless("\x1b[2J\x1b]0;owned\a\n"), unknown, "status lines"},
		{"status: endless line", callFollow, endless("building"), unknown, "too long"},
		{"status: endless building", callFollow, endless("1 building\n"), unknown, "status lines"},
		{"status: ends at once", callFollow, says(""), unknown, "lost sight"},
		{"status: an end that does not exist", callFollow, held("1 end result=\x1b[31mwonderful\n"), unknown, "wonderful"},
		{"status: an end with a log that never comes", callFollow, held("1 end result=failed log=99999999999 message=\x1b[1mno\n"), []Code{CodeFailed}, "no"},
		{"status: switching for ever", callFollow, held("1 switching\n"), unknown, inTime},
		{"status: dead, and nothing after it", callFollow, held("1 gone armed=1\n"), unknown, inTime},
		{"log: endless", ofLog, inLog(run.LogMark+"\n", endless("\x1b[31mbuilding\x1b[0m\r\x9b2J\u202e\n")), []Code{CodeDone}, ""},
		{"log: endless line", ofLog, inLog(run.LogMark+"\n", endless("\x1b]0;owned")), []Code{CodeDone}, ""},
		{"log: endless, and never its mark", ofLog, inLog("", endless("\x1b]0;owned")), []Code{CodeDone}, ""},
		{"log: another than there is", ofLog, inLog(run.LogMark+"\n", held("\x1b[2Jbuilding\a\u202e\n")), []Code{CodeDone}, ""},
		{"look at the new system: nothing", callProbe, silence(t), undone, ""},
		{"look at the new system: endless", callProbe, endless("unit=system a.service failed\n"), undone, ""},
		{"look at the new system: another system", callProbe, held("current=/nix/store/a\nwanted=\x1b[2J\nprobed=1\n"), undone, ""},
		{"look at the new system: a verdict never taken", callProbe, held("current=/a\nwanted=/a\nprobed=1\n"), undone, ""},
	}
}

// A server that goes wrong in the middle of a run is left in time, too; its own
// watchdog undoes what nobody could confirm, and the next update succeeds.
func TestFaultsHostileServersInARun(t *testing.T) {
	faults.Asked(t)
	every := faults.Points(t, 8, 2, 1)
	for i, a := range midAttacks(t) {
		if i%every != 0 {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			a := midAttacks(t)[i] // what is silent, is so as long as this test
			f := newFixture(t)
			var cut atomic.Int32 // the connection that the run is started over
			s := f.server("web", vpstest.WithHook(func(s *vpstest.Server, c vpstest.Call) {
				if c.Program == "nixos-rebuild" {
					s.CutAfter(int(cut.Load()), 1, 0)
				}
			}))
			f.mustUpdate("web")
			was, tree := s.CurrentSystem(), s.TreeDigest()
			f.write("x.nix", "1")
			s.SetLinks(func(int) vpstest.Link { return a.link(s) })
			if a.call != callProbe {
				cut.Store(int32(len(s.Connections()) + 1))
			}
			o := quick()
			if a.codes[0] == CodeUnknown {
				f.impatient()
				f.bounds.Answer = 10 * time.Second // what it does answer may take its time
				if a.says != inTime {
					f.bounds.Build, f.bounds.Margin = patient, patient // something else ends it
				}
				o.Confirm, o.SwitchTimeout = time.Second, time.Second
			} else { // the run's own deadlines end it
				f.bounds = run.Bounds{Answer: 10 * time.Second, Log: 1 << 20}
				o.Confirm = 2 * time.Second
			}
			var err error
			grew, took := measured(func() { _, err = f.update("web", o) })

			term.New(strings.NewReader(""), &buffer{}, f.story).Error(err)
			assert.Contains(t, a.codes, codeOf(err), "%v\n%s", err, f.story)
			if a.says != "" {
				assert.ErrorContains(t, err, a.says)
			}
			assert.Less(t, took, hostileTime)
			assert.Less(t, grew, int64(hostileMemory), "bytes of heap")
			harmless(t, f.story.String())
			require.True(t, s.WaitIdle(30*time.Second), "the server's run ends by itself")
			if err != nil {
				assert.Equal(t, was, s.CurrentSystem(), "nobody confirmed it")
				assert.Equal(t, tree, s.TreeDigest())
			}
			s.SetLinks(func(int) vpstest.Link { return vpstest.Link{} })
			f.bounds = run.Bounds{}
			f.mustUpdate("web")
			assert.Equal(t, s.CurrentSystem(), s.BootDefault())
			survived(t, a.name, took, grew)
		})
	}
}

func (a midAttack) link(s *vpstest.Server) vpstest.Link {
	if a.call != ofLog {
		return answeringTo(s, a.call, a.speak)
	}
	return vpstest.Link{Exec: func(line string, stdin io.Reader, stdout, stderr io.Writer) (int, bool) {
		follow, stdin := called(callFollow, stdin)
		if follow {
			go a.speak(nil, nil, stderr)
		}
		real := exec.Command("/bin/sh", "-c", line)
		real.Env = []string{"VPS_ROOT=" + s.Root(), "PATH=" + s.Path("run/current-system/sw/bin")}
		real.Stdin, real.Stdout, real.WaitDelay = stdin, stdout, time.Second
		_ = real.Run()
		return 0, true
	}}
}

func answeringTo(s *vpstest.Server, call string, speak func(io.Reader, io.Writer, io.Writer)) vpstest.Link {
	return vpstest.Link{Exec: func(line string, stdin io.Reader, stdout, stderr io.Writer) (int, bool) {
		is, stdin := called(call, stdin)
		if is {
			speak(stdin, stdout, stderr)
			return 0, true
		}
		real := exec.Command("/bin/sh", "-c", line)
		real.Env = []string{"VPS_ROOT=" + s.Root(), "PATH=" + s.Path("run/current-system/sw/bin")}
		real.Stdin, real.Stdout, real.Stderr, real.WaitDelay = stdin, stdout, stderr, time.Second
		_ = real.Run()
		return 0, true
	}}
}

// A server may send a run's log before the word that it started. Nobody reads the log
// until then, and that word came only when somebody had: the client stood still until
// its deadline, and the server rolled back.
func TestLogBeforeTheAnswerToTheStart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("web")
	s.SetLinks(func(int) vpstest.Link {
		return vpstest.Link{Exec: func(line string, stdin io.Reader, stdout, stderr io.Writer) (int, bool) {
			if line != "/bin/sh -s" {
				return 0, false
			}
			real := exec.Command("/bin/sh", "-s")
			real.Env = []string{"VPS_ROOT=" + s.Root(), "PATH=" + s.Path("run/current-system/sw/bin")}
			real.Dir = s.Path("root")
			real.Stdin, real.WaitDelay = stdin, time.Second
			real.Stdout = writerFunc(func(b []byte) (int, error) {
				if strings.Contains(string(b), "started=1") {
					_, _ = io.WriteString(stderr, run.LogMark+"\nearly\n")
					for range 100 {
						_, _ = io.WriteString(stderr, "and more of it\n")
					}
				}
				return stdout.Write(b)
			})
			_ = real.Run()
			return 0, true
		}}
	})
	f.bounds.Answer = 10 * time.Second
	f.mustUpdate("web")
	assert.Contains(t, f.story.String(), "early")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A record that lies: of a run of ours that is not there, or of somebody whose
// name clears the screen. Neither is followed for ever, nor shown as it is.
func TestFaultsRecordsThatLie(t *testing.T) {
	faults.Asked(t)
	for _, c := range []struct {
		name, lie string
		code      Code
	}{
		{"our run, which is not there", "holder.id=gone\nholder.kind=update\nholder.action=switch\nholder.who=alice\nholder.from=laptop\n" +
			"holder.digest=%s\nholder.since=2026-01-01T00:00:00Z\nholder.status=1 building\n", CodeUnknown},
		{"somebody with escape sequences", "holder.id=x\nholder.who=\x1b[2J\x1b]52;c;b3duZWQ=\a\u202ebob\nholder.from=\x9b31m\n" +
			"holder.since=2026-01-01T00:00:00Z\nholder.status=1 \x1b[31mbuilding message=\x07\n", CodeBusy},
		{"another operating system", "nixos=0\nos=\x1b[2J\x1bPq\x1b\\Debian\n", CodeFailed},
		{"a commit of nobody's", "record.commit=--output=/tmp/x\nrecord.who=\x1b[2J\nrecord.when=1\n", CodeFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			s := f.server("web")
			f.mustUpdate("web")
			digest := s.TreeDigest()
			f.write("x.nix", "1")
			pre, err := f.prepare(t.Context())
			require.NoError(t, err)
			age := ""
			for _, key := range factsOf(t, f, "web").AgeKeys {
				age += "agekey=" + key + "\n"
			}
			lie := strings.ReplaceAll(c.lie, "%s", pre.digest)
			text := "facts=1\nnixos=1\narch=x86_64\ntree=dir\nfree.nix=9999999\nfree.etc=9999999\nfree.state=9999999\n" + age + lie + "end\n"
			s.SetLinks(func(int) vpstest.Link { return answeringTo(s, callSession, says(text)) })
			f.impatient()
			grew, took := measured(func() { _, err = f.update("web", quick()) })

			term.New(strings.NewReader(""), &buffer{}, f.story).Error(err)
			assert.Equal(t, c.code, codeOf(err), "%v", err)
			assert.Less(t, took, hostileTime)
			assert.Less(t, grew, int64(hostileMemory))
			harmless(t, f.story.String())
			assert.Equal(t, digest, s.TreeDigest())
			survived(t, "a record that lies", took, grew)
		})
	}
}
