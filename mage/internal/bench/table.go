package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one line of the table.
type row struct {
	name         string
	ours, theirs string
	figure       string // what the budget is about, if it is not ours
	budget       string // "" is a figure that none was set for
	holds        bool
}

// table is what is printed, in blocks.
type table struct{ blocks []block }

type block struct {
	title string
	rows  []row
}

func (t *table) add(title string, rows ...row) {
	t.blocks = append(t.blocks, block{title, rows})
}

// print writes the table, and how many budgets hold.
func (t *table) print(w io.Writer) error {
	held, broken := 0, 0
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, b := range t.blocks {
		fmt.Fprintf(tw, "\n%s\tours\trsync and ssh\tfigure\tbudget\tholds\n", b.title)
		for _, r := range b.rows {
			verdict := ""
			switch {
			case r.budget == "":
			case r.holds:
				verdict, held = "yes", held+1
			default:
				verdict, broken = "NO", broken+1
			}
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\n", r.name, r.ours, r.theirs, r.figure, r.budget, verdict)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nbudgets: %d hold, %d do not\n", held, broken)
	return err
}

// beside compares the medians of two sides; budget 0 is none.
func beside(name string, ours, theirs []time.Duration, budget float64) row {
	a, b := median(ours), median(theirs)
	ratio := float64(a) / float64(max(b, 1))
	r := row{name: name, ours: seconds(a), theirs: seconds(b), figure: fmt.Sprintf("%.2f x", ratio)}
	if budget > 0 {
		r.budget, r.holds = fmt.Sprintf("<= %.2f x", budget), ratio <= budget
	}
	return r
}

// atMost is a count with a budget.
func atMost(name string, ours, theirs, budget int) row {
	return row{name: name, ours: fmt.Sprint(ours), theirs: fmt.Sprint(theirs),
		budget: fmt.Sprintf("<= %d", budget), holds: ours <= budget}
}

func median[T cmp.Ordered](values []T) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func megabytes[T int | int64 | uint64](bytes T) string {
	return fmt.Sprintf("%.0f MB", float64(bytes)/1e6)
}
