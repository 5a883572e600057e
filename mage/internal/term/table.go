package term

import "strings"

// Table writes rows to stdout, their columns aligned and two blanks apart. A
// header that is not nil stands above them. Rows may differ in length.
func (u *UI) Table(header []string, rows [][]string) error {
	all := rows
	if header != nil {
		all = append([][]string{header}, rows...)
	}
	lines := align(all)
	if header != nil {
		lines[0] = u.paint(u.out, bold, lines[0])
	}
	if len(lines) == 0 {
		return nil
	}
	return u.answer([]byte(strings.Join(lines, "\n") + "\n"))
}

// align makes one line of each row.
func align(rows [][]string) []string {
	var columns []int
	cells := make([][]string, len(rows))
	for i, row := range rows {
		for j, cell := range row {
			cell = Clean(cell)
			cells[i] = append(cells[i], cell)
			if j == len(columns) {
				columns = append(columns, 0)
			}
			columns[j] = max(columns[j], Width(cell))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range cells {
		var b strings.Builder
		for j, cell := range row {
			b.WriteString(pad(cell, columns[j]+2))
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}
