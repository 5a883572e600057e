package run

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// ParseError is output of a server's that is not what our scripts print.
type ParseError struct {
	What string // what was read: "facts", "status", …
	Line string // the culprit, or ""
	Err  error
}

func (e *ParseError) Error() string {
	if e.Line == "" {
		return fmt.Sprintf("read the server's %s: %v", e.What, e.Err)
	}
	return fmt.Sprintf("read the server's %s: %v: %q", e.What, e.Err, cut(e.Line, 80))
}

// Unwrap gives the cause.
func (e *ParseError) Unwrap() error { return e.Err }

// NextStep says what to do.
func (e *ParseError) NextStep() next.Step {
	return next.Words("log in to the server and look whether its shell prints something at login, or its disk is full")
}

const (
	maxLine  = 16 << 10
	maxLines = 200_000
)

// fieldReader reads KEY=VALUE lines until a line "end", without which they are
// incomplete. Lines before the first of ours (a message of the shell's) are not
// ours to judge, so callers ignore keys they do not know.
func readFields(what string, r io.Reader, each func(key, value string) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxLine)
	for n := 0; sc.Scan(); n++ {
		line := sc.Text()
		if line == FactsEnd {
			return nil
		}
		if n == maxLines {
			return &ParseError{What: what, Err: fmt.Errorf("more than %d lines", maxLines)}
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		if err := each(key, value); err != nil {
			return &ParseError{What: what, Line: line, Err: err}
		}
	}
	if err := sc.Err(); err != nil {
		return &ParseError{What: what, Err: err}
	}
	return &ParseError{What: what, Err: errors.New("they end too early")}
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
