package deploy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/observe"
)

const (
	keptLogs  = 20       // of each host
	maxRunLog = 64 << 20 // bytes
	lastLines = 10       // that a failure shows
)

// runLog writes what happens in a run on a host to .vps/logs/HOST-TIME.log, and tells
// it on. The file is for its owner only: a build prints what it likes.
type runLog struct {
	line *observe.Line

	mu   sync.Mutex
	file *os.File
	path string // in the project
	size int
	tail [][]byte // the last whole lines
	part []byte
}

// logRun begins the log of a run. A run whose log cannot be kept goes on without.
func (p *Project) logRun(h config.Host, line *observe.Line) *runLog {
	l := &runLog{line: line}
	dir := filepath.Join(".vps", "logs")
	if err := os.MkdirAll(filepath.Join(p.Dir, dir), 0o700); err != nil {
		p.log.Warn("%s: no log is kept: %v", h.Name, err)
		return l
	}
	name := config.FileNameOf(h.Name)
	l.path = filepath.Join(dir, fmt.Sprintf("%s-%s.log", name, time.Now().UTC().Format("20060102T150405.000")))
	file, err := os.OpenFile(filepath.Join(p.Dir, l.path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		p.log.Warn("%s: no log is kept: %v", h.Name, err)
		l.path = ""
		return l
	}
	l.file = file
	p.tidyLogs(name)
	return l
}

// tidyLogs keeps the newest logs of a host.
func (p *Project) tidyLogs(name string) {
	old, err := filepath.Glob(filepath.Join(p.Dir, ".vps", "logs", name+"-*T*.log"))
	if err != nil || len(old) <= keptLogs {
		return
	}
	slices.Sort(old)
	for _, path := range old[:len(old)-keptLogs] {
		_ = os.Remove(path)
	}
}

// Phase tells and writes what the run does now.
func (l *runLog) Phase(text string) {
	l.line.Phase(text)
	l.write(fmt.Appendf(nil, "%s %s\n", time.Now().Format("15:04:05"), text))
}

// Output tells and writes a part of the run's log.
func (l *runLog) Output(data []byte) {
	l.line.Output(data)
	l.write(data)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, data...)
	for {
		line, rest, ended := bytes.Cut(l.part, []byte("\n"))
		if !ended {
			break
		}
		l.tail = append(l.tail, bytes.Clone(line[:min(len(line), 500)]))
		l.tail = l.tail[max(0, len(l.tail)-lastLines):]
		l.part = rest
	}
	if len(l.part) > 4096 {
		l.part = nil
	}
}

func (l *runLog) write(data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || l.size > maxRunLog {
		return
	}
	n, _ := l.file.Write(data) // the run matters, not its log
	l.size += n
}

// end closes the log, and gives where it is and its last lines.
func (l *runLog) end() (path, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
	return l.path, strings.TrimRight(string(bytes.Join(l.tail, []byte("\n"))), "\n")
}
