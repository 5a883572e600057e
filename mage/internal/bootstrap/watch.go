package bootstrap

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dagadbm/vps/mage/internal/container"
)

// nixLogHint begins the line in which Nix says how to see the log of a build.
const nixLogHint = "For full logs, run"

// installerTail is how many lines of output a failure shows.
const installerTail = 20

// InstallerProgress is what there is to show: the phase, since when, and the
// last line of output, safe for a terminal.
type InstallerProgress struct {
	Phase InstallerPhase
	Since time.Time
	Line  string
}

// InstallerWatch says how an installation is watched. The zero value watches
// with the default deadlines and shows nothing.
type InstallerWatch struct {
	From      InstallerPhase  // the phase that it begins in
	Stage     container.Stage // whose steps are announced
	Deadlines InstallerDeadlines
	// Secrets are hidden in all that is logged and shown. A secret of several
	// lines is hidden line by line.
	Secrets []string
	// Log gets the whole output, a time before each line.
	Log io.Writer
	// Progress is called for every line and every new phase, by one goroutine
	// at a time. It must not call the watcher.
	Progress func(InstallerProgress)
}

// InstallerWatcher reads the installer's output while it runs. It ends the
// installation, by cancelling its context, when a phase takes too long or when
// the installer is in a loop that has no end.
type InstallerWatcher struct {
	watch    InstallerWatch
	redactor redactor
	cancel   context.CancelCauseFunc
	out, err *lineSplitter

	mu         sync.Mutex
	phase      InstallerPhase
	since      time.Time
	timer      *time.Timer
	complaints map[InstallerLoop]int
	connecting bool                 // it tries to log in until it succeeds
	stranger   *InstallerStuckError // in this phase another host key was shown
	lost       bool                 // in this phase a connection was lost
	reason     string
	tail       []string
	logErr     error
	finished   bool
}

// Start begins to watch. The installer must run with the context that is
// returned, and write to Stdout and Stderr; then call Finish.
func (w InstallerWatch) Start(ctx context.Context) (context.Context, *InstallerWatcher) {
	ctx, cancel := context.WithCancelCause(ctx)
	m := &InstallerWatcher{watch: w, redactor: newRedactor(w.Secrets), cancel: cancel}
	// Enough that a secret at the cut is whole when it is looked for.
	keep := installerLineMax + m.redactor.longest
	m.out = &lineSplitter{keep: keep, each: func(line []byte) { m.read(line, true) }}
	m.err = &lineSplitter{keep: keep, each: func(line []byte) { m.read(line, false) }}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enter(w.From)
	return ctx, m
}

// Stdout takes the installer's standard output, which announces the phases.
func (m *InstallerWatcher) Stdout() io.Writer { return lockedWriter{&m.mu, m.out} }

// Stderr takes the installer's standard error.
func (m *InstallerWatcher) Stderr() io.Writer { return lockedWriter{&m.mu, m.err} }

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Phase is how far it has come.
func (m *InstallerWatcher) Phase() InstallerPhase {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.phase
}

// LogError is why the log is not complete, or nil.
func (m *InstallerWatcher) LogError() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logErr
}

// enter begins a phase: its clock starts now. Callers hold the lock.
func (m *InstallerWatcher) enter(p InstallerPhase) {
	m.phase, m.since, m.complaints, m.stranger, m.lost = p, time.Now(), map[InstallerLoop]int{}, nil, false
	if m.timer != nil {
		m.timer.Stop()
	}
	limit := m.watch.Deadlines.of(p)
	if limit <= 0 {
		return
	}
	m.timer = time.AfterFunc(limit, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.phase == p && !m.finished {
			m.cancel(&InstallerStuckError{Phase: p, Limit: limit})
		}
	})
}

// read takes one line. Callers hold the lock.
func (m *InstallerWatcher) read(raw []byte, stdout bool) {
	line := m.redactor.clean(raw)
	if line == "" {
		return
	}
	m.log(line)
	if !strings.HasPrefix(strings.TrimSpace(line), nixLogHint) { // here there is no Nix, and the log has all of it
		m.tail = append(m.tail, line)
	}
	m.tail = m.tail[max(0, len(m.tail)-installerTail):]
	if step, ok := stepOf(line); ok && stdout {
		m.connecting = installerSteps()[step] == InstallerUploadingKey
		if next := m.phase.next(m.watch.Stage, step); next != m.phase {
			m.enter(next)
		}
	} else {
		m.complain(line, stdout)
	}
	if m.watch.Progress != nil {
		m.watch.Progress(InstallerProgress{Phase: m.phase, Since: m.since, Line: line})
	}
}

// complain looks in a line for a reason. Standard output is the server's, too: only
// the download of the installer's image tells its end there.
func (m *InstallerWatcher) complain(line string, stdout bool) {
	if m.phase == InstallerKexec && kexecFailed.MatchString(line) {
		m.reason = line
	}
	if stdout {
		return
	}
	if sshLost.MatchString(line) {
		m.lost = true
	}
	for _, prefix := range []string{"aborted: ", "error: ", "vps: "} {
		if reason, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok && !m.told() {
			m.reason = reason
		}
	}
	loop := loopIn(line)
	if loop == 0 {
		return
	}
	if loop == InstallerOtherHostKey {
		m.stranger = &InstallerStuckError{Phase: m.phase, Loop: loop, Line: line}
	}
	m.complaints[loop]++
	if limit := m.phase.patience(loop, m.connecting); limit > 0 && m.complaints[loop] >= limit {
		m.cancel(&InstallerStuckError{Phase: m.phase, Loop: loop, Line: line})
	}
}

// told says whether the reason is known already, and what comes later is only its
// consequence.
func (m *InstallerWatcher) told() bool {
	return m.phase == InstallerKexec && kexecFailed.MatchString(m.reason)
}

func (m *InstallerWatcher) log(line string) {
	if m.watch.Log == nil || m.logErr != nil {
		return
	}
	_, m.logErr = fmt.Fprintf(m.watch.Log, "%s %s\n", time.Now().Format(time.TimeOnly), line)
}

// Finish ends the watching. err is how the installer ended; the error that is
// returned, an *InstallerError, says it so that a person can act on it.
func (m *InstallerWatcher) Finish(ctx context.Context, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out.flush()
	m.err.flush()
	m.finished = true
	if m.timer != nil {
		m.timer.Stop()
	}
	cause := context.Cause(ctx)
	m.cancel(nil)
	if err == nil {
		return nil
	}
	if m.stranger != nil && cause == nil { // what failed then says less
		cause = m.stranger
	}
	failed := newInstallerError(m.phase, err, cause, m.reason, slices.Clone(m.tail))
	failed.Lost = m.lost
	m.log("vps: ended here: " + failed.Error())
	return failed
}

const (
	// installerLineMax is what is kept of a line, in bytes.
	installerLineMax = 4 << 10
	// secretMin is the length from which a line of a secret is worth hiding:
	// the shorter ones are words that any text has.
	secretMin = 12
	hidden    = "[secret]"
)

// redactor hides secrets, line by line: a private key is printed as several.
type redactor struct {
	parts   []string
	longest int
}

func newRedactor(secrets []string) redactor {
	var r redactor
	for _, secret := range secrets {
		for line := range strings.Lines(secret) {
			line = strings.TrimSpace(line)
			if len(line) >= secretMin && !strings.HasPrefix(line, "-----") && !strings.HasPrefix(line, "#") {
				r.parts = append(r.parts, line)
				r.longest = max(r.longest, len(line))
			}
		}
	}
	// A secret that is a part of another must not leave the rest of it.
	slices.SortFunc(r.parts, func(a, b string) int { return len(b) - len(a) })
	return r
}

func (r redactor) redact(text string) string {
	for _, part := range r.parts {
		text = strings.ReplaceAll(text, part, hidden)
	}
	return text
}

// clean makes a foreign line safe to show: no colours, no cursor movements, no
// invisible characters, no secrets, not too long.
func (r redactor) clean(line []byte) string {
	text := r.redact(strings.Map(printable, withoutEscapes(strings.ToValidUTF8(string(line), "\uFFFD"))))
	if len(text) > installerLineMax {
		text = strings.ToValidUTF8(text[:installerLineMax], "") + "…"
	}
	return strings.TrimRight(text, " ")
}

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}

// withoutEscapes drops terminal escape sequences; printable alone would leave
// their letters.
func withoutEscapes(text string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "\x1b")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		text = skipEscape(after)
	}
}

// skipEscape gives what follows a sequence whose ESC is already gone.
func skipEscape(text string) string {
	switch {
	case strings.HasPrefix(text, "["): // CSI: parameters, then one letter
		end := strings.IndexFunc(text[1:], func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			return ""
		}
		return text[1+end+1:]
	case strings.HasPrefix(text, "]"): // OSC: ends with BEL, or with ESC \
		if end := strings.IndexByte(text, '\a'); end >= 0 {
			return text[end+1:]
		}
		if end := strings.Index(text, "\x1b\\"); end >= 0 {
			return text[end+2:]
		}
		return ""
	}
	return text
}

// lineSplitter is an io.Writer that calls each for every line, in bounded
// memory: of a longer line it keeps the beginning.
type lineSplitter struct {
	keep int // bytes of a line
	each func(line []byte)
	line []byte
}

// Write never fails.
func (s *lineSplitter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		end := slices.IndexFunc(rest, func(b byte) bool { return b == '\n' || b == '\r' })
		part := rest
		if end >= 0 {
			part = rest[:end]
		}
		s.line = append(s.line, part[:min(len(part), s.keep-len(s.line))]...)
		if end < 0 {
			break
		}
		s.flush()
		rest = rest[end+1:]
	}
	return len(p), nil
}

// flush ends the line. Empty ones say nothing, and \r\n makes them.
func (s *lineSplitter) flush() {
	if len(s.line) > 0 {
		s.each(s.line)
		s.line = s.line[:0]
	}
}
