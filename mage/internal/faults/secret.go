package faults

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Needles are secrets in every form in which they could turn up, each with the
// name that a finding shall have.
type Needles map[string][]byte

// Add adds a secret: as it is, in hex, and in base64 at each of the three places
// that it can have in the text that was encoded.
func (n Needles) Add(name, secret string) {
	secret = strings.TrimSpace(secret)
	n[name] = []byte(secret)
	n[name+" in hex"] = []byte(hex.EncodeToString([]byte(secret)))
	for before := range 3 {
		all := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), secret...))
		from, to := (before*8+5)/6, (before+len(secret))*8/6
		n[fmt.Sprintf("%s in base64, %d", name, before)] = []byte(all[from:to])
	}
}

// In names the secrets that are in data.
func (n Needles) In(data []byte) (found []string) {
	for _, name := range slices.Sorted(maps.Keys(n)) {
		if bytes.Contains(data, n[name]) {
			found = append(found, name)
		}
	}
	return found
}

// InFiles looks into every file below dir, but those that may hold secrets, by
// their path from dir.
func (n Needles) InFiles(dir string, may func(path string) bool) (found []string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || !e.Type().IsRegular() || may != nil && may(name) {
			return nil // what went away while it was looked for is not there
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for _, what := range n.In(data) {
			found = append(found, what+" in "+path)
		}
		return nil
	})
	return found
}

// A Watch looks at the arguments and the environment of every process of this
// machine, and into a folder, again and again. It needs /proc.
type Watch struct {
	needles Needles
	dir     string
	stop    chan struct{}
	done    sync.WaitGroup

	found map[string]bool
	Looks int // how often it looked at all processes
}

// Start begins to look; dir is a folder that must never hold a secret.
func Start(needles Needles, dir string) *Watch {
	w := &Watch{needles: maps.Clone(needles), dir: dir, stop: make(chan struct{}), found: map[string]bool{}}
	w.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			w.look()
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
		}
	})
	return w
}

// Stop ends it and gives what was found, and where.
func (w *Watch) Stop() []string {
	close(w.stop)
	w.done.Wait()
	return slices.Sorted(maps.Keys(w.found))
}

func (w *Watch) look() {
	w.Looks++
	for _, f := range w.needles.InFiles(w.dir, nil) {
		w.found[f] = true
	}
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		for _, file := range []string{"cmdline", "environ"} {
			data, _ := os.ReadFile(filepath.Join("/proc", p.Name(), file)) // a process may have ended
			for _, what := range w.needles.In(data) {
				command, _, _ := bytes.Cut(data, []byte{0})
				w.found[fmt.Sprintf("%s in the %s of a process, %.40q", what, file, command)] = true
			}
		}
	}
}
