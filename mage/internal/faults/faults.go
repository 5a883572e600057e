// Package faults is what the fault tests of all packages share: how many faults
// to inject, and where to write down what became of them, so that one table can
// be made of them (go tool mage faults).
package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
)

const (
	// LevelEnv chooses how much is injected: unset for what takes seconds, few for
	// a handful of everything, ci, or full.
	LevelEnv = "VPS_FAULTS"
	// ReportEnv names the file that gets one JSON line for each Row.
	ReportEnv = "VPS_FAULTS_REPORT"
)

// Points is how many faults a test injects at the level that was asked for.
func Points(t testing.TB, quick, ci, full int) int {
	t.Helper()
	switch level := os.Getenv(LevelEnv); level {
	case "", "few":
		return quick
	case "ci":
		return ci
	case "full":
		return full
	default:
		t.Fatalf("%s=%s: it is few, ci or full, or not there", LevelEnv, level)
		return 0
	}
}

// Asked skips a test that takes long even with a handful of faults, unless faults
// were asked for.
func Asked(t testing.TB) {
	t.Helper()
	if os.Getenv(LevelEnv) == "" {
		t.Skipf("injects faults for many seconds: set %s=few, ci or full, or run: go tool mage faults", LevelEnv)
	}
}

// A Row is one line of the table.
type Row struct {
	Area     string // a heading, such as "cut anywhere"
	Case     string // what was done, in which phase
	Injected int
	Survived int    // of those, after how many all that was promised held
	Detail   string // figures: exit code, seconds until reachable, bytes; may be ""
}

// Report writes a row down, where somebody asked for it. It may be called at the
// same time from several tests and programs.
func Report(t testing.TB, row Row) {
	t.Helper()
	path := os.Getenv(ReportEnv)
	if path == "" {
		return
	}
	line, err := json.Marshal(row)
	if err == nil {
		err = appendLine(path, line)
	}
	if err != nil {
		t.Errorf("write down what was survived: %v", err)
	}
}

// appendLine writes in one call, so that lines of several programs do not mix.
func appendLine(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// Rows reads what Report wrote. Rows of the same area and case become one, with
// the counts added up; the order is that of the first of each.
func Rows(path string) ([]Row, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows []Row
	order := map[string]int{}
	for line := range bytes.Lines(data) {
		var row Row
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Area == row.Area && r.Case == row.Case })
		if _, seen := order[row.Area]; !seen {
			order[row.Area] = len(order)
		}
		if i < 0 {
			rows = append(rows, row)
			continue
		}
		rows[i].Injected += row.Injected
		rows[i].Survived += row.Survived
		if row.Detail != "" {
			rows[i].Detail = row.Detail
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return order[a.Area] - order[b.Area] })
	return rows, nil
}

// Print writes the table, one block for each area.
func Print(w io.Writer, rows []Row) error {
	area := ""
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		if r.Area != area {
			area = r.Area
			fmt.Fprintf(tw, "\n%s\tinjected\tsurvived\t\n", area)
		}
		fmt.Fprintf(tw, "  %s\t%d\t%d\t%s\n", r.Case, r.Injected, r.Survived, r.Detail)
	}
	return tw.Flush()
}
