package tree

import (
	"fmt"
	"slices"
	"strings"
)

// Difference is what turns one tree into another. Each list is sorted by path.
type Difference struct {
	Added   []Entry // only in the new tree
	Changed []Entry // in both, as the new tree has them; also if only the mode changed
	Removed []Entry // only in the old tree

	was []Entry // the old state of Changed, index by index
}

// Diff tells two manifests apart.
func Diff(old, new Manifest) Difference {
	var d Difference
	i, j := 0, 0
	for i < len(old.entries) || j < len(new.entries) {
		switch {
		case j == len(new.entries) || i < len(old.entries) && old.entries[i].Path < new.entries[j].Path:
			d.Removed = append(d.Removed, old.entries[i])
			i++
		case i == len(old.entries) || new.entries[j].Path < old.entries[i].Path:
			d.Added = append(d.Added, new.entries[j])
			j++
		default:
			if a, b := old.entries[i], new.entries[j]; a.Type != b.Type || a.Hash != b.Hash {
				d.Changed = append(d.Changed, b)
				d.was = append(d.was, a)
			}
			i++
			j++
		}
	}
	return d
}

// Was lists the old state of Changed.
func (d Difference) Was() []Entry { return slices.Clone(d.was) }

// Empty says whether the trees are the same.
func (d Difference) Empty() bool {
	return len(d.Added)+len(d.Changed)+len(d.Removed) == 0
}

// Upload lists what the server has to be sent: the added and the changed
// entries, sorted by path.
func (d Difference) Upload() []Entry {
	all := slices.Concat(d.Added, d.Changed)
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// Replaced lists those of Changed that cannot be written over their old state:
// a file that becomes executable or a link, and every link.
func (d Difference) Replaced() []Entry {
	var list []Entry
	for i, e := range d.Changed {
		if e.Type == TypeLink || i >= len(d.was) || e.Type != d.was[i].Type {
			list = append(list, e)
		}
	}
	return list
}

// Size is the number of bytes of [Difference.Upload].
func (d Difference) Size() int64 {
	var sum int64
	for _, e := range d.Upload() {
		sum += e.Size
	}
	return sum
}

// Rows gives the difference as a table of three columns, sorted by path: what
// happens ("added", "changed", "removed"), to which path, and a remark such as
// "now executable", mostly "".
func (d Difference) Rows() [][]string {
	var rows [][]string
	for _, e := range d.Added {
		rows = append(rows, []string{"added", e.Path, kind(e.Type)})
	}
	for i, e := range d.Changed {
		rows = append(rows, []string{"changed", e.Path, d.remark(i)})
	}
	for _, e := range d.Removed {
		rows = append(rows, []string{"removed", e.Path, ""})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[1], b[1]) })
	return rows
}

// String writes one line a path, with +, ~ or - in front of it. Of an empty
// difference it is "".
func (d Difference) String() string {
	signs := map[string]string{"added": "+", "changed": "~", "removed": "-"}
	var b strings.Builder
	for _, row := range d.Rows() {
		fmt.Fprintf(&b, "%s %s", signs[row[0]], row[1])
		if row[2] != "" {
			fmt.Fprintf(&b, " (%s)", row[2])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Summary is the difference in one line, such as "2 added, 1 changed".
func (d Difference) Summary() string {
	var parts []string
	count := func(entries []Entry, what string) {
		if len(entries) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", len(entries), what))
		}
	}
	count(d.Added, "added")
	count(d.Changed, "changed")
	count(d.Removed, "removed")
	if len(parts) == 0 {
		return "no difference"
	}
	return strings.Join(parts, ", ")
}

// remark says what became of the type of the i-th changed entry.
func (d Difference) remark(i int) string {
	if i >= len(d.was) || d.was[i].Type == d.Changed[i].Type {
		return ""
	}
	was, is := d.was[i], d.Changed[i]
	text := "now executable"
	switch {
	case is.Type == TypeLink:
		return "now a link"
	case was.Type == TypeLink:
		return "no longer a link"
	case is.Type == TypeFile:
		text = "no longer executable"
	}
	if was.Hash == is.Hash {
		text += ", content unchanged"
	}
	return text
}

func kind(t byte) string {
	switch t {
	case TypeExecutable:
		return "executable"
	case TypeLink:
		return "link"
	}
	return ""
}
