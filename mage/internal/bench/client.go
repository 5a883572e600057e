package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/terminal"
)

// order is what a client process is told to do, in its environment: one update,
// as its target would do it, and nothing else, so that its memory is that of an
// update.
type order struct {
	Hosts    string
	Parallel int
	Action   deploy.Action
	Heap     bool // report the heap as hosts come to their end, and no story
}

// report is what it says afterwards.
type report struct {
	Began, Ended time.Time
	Results      []outcome
	Peak         int64 // bytes of memory, at the most
	Heaps        []heapSample
	Err          string
	Story        []string // with the time of each line, in nanoseconds
}

type outcome struct {
	Host, Result, Err string
	Time              time.Duration
}

func (r report) took() time.Duration { return r.Ended.Sub(r.Began) }

// all says whether every host came to that result.
func (r report) all(n int, result string) error {
	if r.Err != "" || len(r.Results) != n {
		return fmt.Errorf("%d results of %d: %s\n%s", len(r.Results), n, r.Err, strings.Join(r.Story, "\n"))
	}
	for _, o := range r.Results {
		if o.Result != result {
			return fmt.Errorf("%s: %s %s instead of %q\n%s", o.Host, o.Result, o.Err, result, strings.Join(r.Story, "\n"))
		}
	}
	return nil
}

const orderVariable = "VPS_BENCH_ORDER"

// update runs one update in a process of its own.
func (w *world) update(ctx context.Context, o order) (report, error) {
	var r report
	text, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Dir = w.project()
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text), "VPS_SSH_CONFIG=none", "SSH_AUTH_SOCK=", "HOME="+w.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("client: %w: %s", err, stderr.String())
	}
	return r, json.Unmarshal(stdout.Bytes(), &r)
}

// updateAll updates every host at once and wants that result of each.
func (w *world) updateAll(ctx context.Context, result string) (report, error) {
	r, err := w.update(ctx, order{Hosts: "all", Parallel: len(w.hosts), Action: deploy.ActionSwitch})
	if err != nil {
		return r, err
	}
	return r, r.all(len(w.hosts), result)
}

// beClient carries out the order of a parent.
func beClient(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	var r report
	story := &story{only: o.Heap}
	ui := term.New(strings.NewReader(""), story, story)
	r.Began = time.Now()
	p, err := deploy.Open(".", terminal.On(ui))
	if err != nil {
		return err
	}
	options := deploy.DefaultUpdate()
	options.Action, options.Parallel, options.Settle = o.Action, o.Parallel, 0
	stop := func() []heapSample { return nil }
	if o.Heap {
		stop = watchHeap(story)
	}
	results, err := p.Update(context.Background(), o.Hosts, options)
	r.Ended = time.Now()
	if err != nil {
		r.Err = err.Error()
	}
	for _, result := range results {
		out := outcome{Host: result.Host, Result: string(result.Outcome), Time: result.Time}
		if result.Err != nil {
			out.Err = result.Err.Error()
		}
		r.Results = append(r.Results, out)
	}
	r.Heaps = stop()
	r.Story, _ = story.told()
	if r.Peak, err = peakMemory(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// peakMemory is the most that this process ever had in memory, as Linux says.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmHWM")
}

// story keeps what a person would see, and when.
type story struct {
	only  bool // count the hosts that have come to their end and keep nothing
	mu    sync.Mutex
	lines []string
	ended int
}

// endOfHost is how the last line of a host ends: with its time.
var endOfHost = regexp.MustCompile(`\(\d+:\d\d\)$`)

func (s *story) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if endOfHost.MatchString(line) {
			s.ended++
		}
		if !s.only {
			s.lines = append(s.lines, fmt.Sprintf("%d %s", time.Now().UnixNano(), line))
		}
	}
	return len(b), nil
}

func (s *story) told() (lines []string, ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines, s.ended
}

// heapSample is the size of the heap, without what is garbage, once so many hosts
// had come to their end.
type heapSample struct {
	Ended int
	Bytes uint64
}

// watchHeap takes samples until it is stopped.
func watchHeap(s *story) (stop func() []heapSample) {
	var samples []heapSample
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				_, ended := s.told()
				samples = append(samples, heapSample{ended, m.HeapAlloc})
			}
		}
	}()
	return func() []heapSample {
		close(done)
		<-over
		return samples
	}
}
