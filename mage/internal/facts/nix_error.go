package facts

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// NixError is a Nix command that failed, in the lines that matter.
type NixError struct {
	Command string // "eval", "flake", …
	Text    string // what Nix says is wrong, one line
	Place   string // file:line:column of the tree, as the project names it; or ""
}

func (e *NixError) Error() string {
	text := "nix " + e.Command + ": " + e.Text
	if e.Place != "" {
		text += " (" + e.Place + ")"
	}
	return text
}

// NextStep says what to do.
func (e *NixError) NextStep() next.Step {
	switch {
	case e.Place != "":
		return next.Words("correct " + e.Place)
	case strings.Contains(e.Text, "unable to download"), strings.Contains(e.Text, "resolve host"):
		return next.Words("check this machine's network and that of its containers, then run this again")
	case e.Text == outOfMemory:
		return next.Words("give the container engine more memory: evaluating a system takes 2 GB")
	}
	return next.Words("correct nix/, then run this again")
}

const (
	outOfMemory = "it was killed: there was not enough memory"
	maxNixText  = 400
)

var (
	escapes   = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	nixPlace  = regexp.MustCompile(`(?:^|\s)at (\S+):(\d+):(\d+):`)
	nixSource = regexp.MustCompile(`^(?:/nix/store/[0-9a-z]{32}-[^/]+|/work)/(.+)$`)
)

// newNixError cuts what Nix wrote to its last error and the place in the tree
// that is nearest to it. Nix writes the trace first and what is wrong last.
func newNixError(command string, code int, stderr string, source func(path string) string) *NixError {
	lines := strings.Split(escapes.ReplaceAllString(stderr, ""), "\n")
	at := lastError(lines)
	e := &NixError{Command: command, Text: nixMessage(lines, at), Place: nixPlaceNear(lines, at, source)}
	switch {
	case code == 137:
		e.Text = outOfMemory
	case e.Text == "":
		e.Text = fmt.Sprintf("it ended with exit code %d", code)
	}
	return e
}

// lastError is the number of the line with the last error that says something,
// or -1.
func lastError(lines []string) int {
	for i := len(lines) - 1; i >= 0; i-- {
		if _, ok := strings.CutPrefix(strings.TrimSpace(lines[i]), "error:"); ok && nixMessage(lines, i) != "" {
			return i
		}
	}
	return -1
}

// nixMessage joins the message that begins on a line: it ends at an empty line,
// a place, or a step of the trace.
func nixMessage(lines []string, at int) string {
	if at < 0 {
		return ""
	}
	var words []string
	for i, line := range lines[at:] {
		line = strings.TrimSpace(line)
		if i == 0 {
			line = strings.TrimSpace(strings.TrimPrefix(line, "error:"))
		} else if line == "" || strings.HasPrefix(line, "…") || strings.HasPrefix(line, "error:") || nixPlace.MatchString(line) {
			break
		}
		words = append(words, strings.Fields(line)...)
	}
	text := strings.Join(words, " ")
	if len(text) > maxNixText {
		text = strings.ToValidUTF8(text[:maxNixText], "") + "…"
	}
	return text
}

// nixPlaceNear finds the place of our own files that is nearest to an error:
// behind it, where Nix shows the culprit, else before it, in the trace.
func nixPlaceNear(lines []string, at int, source func(path string) string) string {
	if at < 0 {
		return ""
	}
	for _, line := range lines[at:] {
		if place := ourPlace(line, source); place != "" {
			return place
		}
	}
	for i := at - 1; i >= 0; i-- {
		if place := ourPlace(lines[i], source); place != "" {
			return place
		}
	}
	return ""
}

func ourPlace(line string, source func(path string) string) string {
	m := nixPlace.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	found := nixSource.FindStringSubmatch(m[1])
	if found == nil {
		return ""
	}
	name := source(found[1])
	if name == "" {
		return ""
	}
	return name + ":" + m[2] + ":" + m[3]
}
