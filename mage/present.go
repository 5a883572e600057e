package mage

import (
	"fmt"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/terminal"
)

func (s *session) showResult(r deploy.Result) {
	if r.Host != "" {
		s.showResults([]deploy.Result{r})
	}
}

func (s *session) showResults(results []deploy.Result) {
	if len(results) == 0 {
		return
	}
	var rows [][]string
	for _, r := range results {
		rows = append(rows, []string{r.Host, terminal.Outcome(r.Outcome), generationName(r.Before), generationName(r.After),
			r.Time.Round(100 * time.Millisecond).String()})
		if r.Kept != "" {
			s.UI.Warn("%s: /etc/nixos held files of somebody else's; they are kept on the server in %s", r.Host, term.Clean(r.Kept))
		}
	}
	s.table([]string{"HOST", "RESULT", "BEFORE", "AFTER", "TIME"}, rows)
}

// table writes an answer. Who closed stdout does not want it.
func (s *session) table(header []string, rows [][]string) { _ = s.UI.Table(header, rows) }

func (s *session) showDiff(changes []deploy.Change) {
	if len(changes) == 0 {
		s.UI.Info("no difference")
		return
	}
	var rows [][]string
	for _, c := range changes {
		rows = append(rows, []string{c.Kind, term.Clean(c.Path), c.Remark})
	}
	s.table(nil, rows)
}

// showSecretChanges names the secrets that differ, beside the files that do.
func (s *session) showSecretChanges(changes []secrets.Change) {
	for _, c := range changes {
		for _, line := range deploy.ChangeLines(c) {
			s.UI.Answer("%s", line)
		}
	}
}

type generationView struct {
	Generation int       `json:"generation"`
	Made       time.Time `json:"made"`
	System     string    `json:"system"`
	Version    string    `json:"version"`
	Default    bool      `json:"default"`
	Current    bool      `json:"current"`
	Booted     bool      `json:"booted"`
	Upgraded   bool      `json:"upgraded"`
	Rollback   bool      `json:"rollback"` // its tree is kept
	Digest     string    `json:"digest,omitempty"`
	Commit     string    `json:"commit,omitempty"`
	Dirty      bool      `json:"dirty,omitempty"`
	Who        string    `json:"who,omitempty"`
	From       string    `json:"from,omitempty"`
}

func view(g deploy.Generation) generationView {
	v := generationView{Generation: g.Number, Made: g.Made, System: g.System, Version: g.Version, Default: g.Default,
		Current: g.Current, Booted: g.Booted, Upgraded: g.Upgraded, Rollback: g.Tree}
	if r := g.Record; r != nil {
		v.Digest, v.Commit, v.Dirty, v.Who, v.From = r.Digest, r.Commit, r.Dirty, r.Who, r.From
	}
	return v
}

func (s *session) showGenerations(list []deploy.Generation, asJSON bool) error {
	views := make([]generationView, 0, len(list))
	var rows [][]string
	for _, g := range list {
		v := view(g)
		views = append(views, v)
		rows = append(rows, clean(fmt.Sprint(v.Generation), day(v.Made), v.Version, cut(v.Digest), commit(v.Commit, v.Dirty),
			v.by(), v.state()))
	}
	if asJSON {
		return s.UI.JSON(views)
	}
	s.table([]string{"GENERATION", "MADE", "VERSION", "TREE", "COMMIT", "BY", "STATE"}, rows)
	return nil
}

func (v generationView) by() string {
	if v.Upgraded {
		return "its own upgrade"
	}
	return v.Who
}

func (v generationView) state() string {
	var words []string
	for _, w := range []struct {
		is   bool
		word string
	}{{v.Current, "running"}, {v.Default, "boot default"}, {v.Rollback, "can roll back"}} {
		if w.is {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ", ")
}

type statusView struct {
	Host       string   `json:"host"`
	State      string   `json:"state"`
	Generation int      `json:"generation"`
	Version    string   `json:"version"`
	System     string   `json:"system"`
	Digest     string   `json:"digest,omitempty"`
	Commit     string   `json:"commit,omitempty"`
	Dirty      bool     `json:"dirty,omitempty"`
	Units      []string `json:"units,omitempty"`
	LastRun    string   `json:"lastRun,omitempty"`
	LastResult string   `json:"lastResult,omitempty"`
	Reboot     bool     `json:"rebootPending"`
	// Upgrade is the last of the server's own; absent where nothing was asked.
	Upgrade *upgradeView `json:"upgrade,omitempty"`
	Error   string       `json:"error,omitempty"`
}

type upgradeView struct {
	Outcome string     `json:"outcome"`          // unknown, running, succeeded, failed or skipped
	Result  string     `json:"result,omitempty"` // as systemd names it
	Ended   *time.Time `json:"ended,omitempty"`
}

func viewUpgrade(u deploy.Upgrade) *upgradeView {
	v := &upgradeView{Outcome: u.Outcome, Result: u.Result}
	if !u.Ended.IsZero() {
		v.Ended = &u.Ended
	}
	return v
}

// String tells of the last upgrade in a few words; that of a host without an answer
// is empty.
func (u *upgradeView) String() string {
	if u == nil {
		return ""
	}
	words := u.Outcome
	if words == "failed" {
		words += " (" + u.Result + ")"
	}
	if u.Ended != nil {
		words += ", " + day(*u.Ended)
	}
	return words
}

func viewStatus(h deploy.HostStatus) statusView {
	v := statusView{Host: h.Host, State: h.State, Generation: h.Generation, Version: h.Version, System: h.System,
		Units: h.Units, LastRun: h.LastRun, LastResult: h.LastResult, Reboot: h.Reboot}
	if h.Record != nil {
		v.Digest, v.Commit, v.Dirty = h.Record.Digest, h.Record.Commit, h.Record.Dirty
	}
	if h.Err == nil {
		v.Upgrade = viewUpgrade(h.Upgrade)
	}
	if h.Err != nil {
		v.Error = h.Err.Error()
	}
	return v
}

func (s *session) showStatus(list []deploy.HostStatus, asJSON bool) error {
	views := make([]statusView, 0, len(list))
	var rows [][]string
	for _, h := range list {
		v := viewStatus(h)
		views = append(views, v)
		rows = append(rows, clean(v.Host, v.State, generationName(v.Generation), v.Version, cut(v.Digest),
			commit(v.Commit, v.Dirty), none(strings.Join(v.Units, ", ")), v.LastResult, v.Upgrade.String()))
	}
	if asJSON {
		return s.UI.JSON(views)
	}
	if len(list) > 0 {
		s.table([]string{"HOST", "STATE", "GENERATION", "VERSION", "TREE", "COMMIT", "FAILED UNITS", "LAST RUN", "LAST UPGRADE"}, rows)
	}
	return nil
}

// clean makes what servers said harmless to a terminal.
func clean(cells ...string) []string {
	for i, c := range cells {
		cells[i] = term.Clean(c)
	}
	return cells
}

func none(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func cut(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}

func commit(hash string, dirty bool) string {
	if dirty && hash != "" {
		return cut(hash) + "+"
	}
	return cut(hash)
}

func day(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
