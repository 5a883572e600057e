package cmdline

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Usage is the help of a target, as a caller calls it.
func (t *Target) Usage(c next.Caller) string {
	var b strings.Builder
	line := c.Command(t.Name)
	for _, w := range t.Words {
		line += " " + strings.ToUpper(w)
	}
	if t.hostFlag() {
		line += " [HOSTS]"
	}
	if len(t.Flags) > 0 {
		line += " [-flag=value …]"
	}
	fmt.Fprintf(&b, "%s\n\n    %s\n", t.Doc, line)
	if len(t.Flags) == 0 {
		return b.String()
	}
	b.WriteString("\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range t.Flags {
		fmt.Fprintf(w, "    -%s%s\t%s\n", f.Name, map[string]string{
			"string": "=TEXT", "int": "=NUMBER", "time.Duration": "=TIME"}[f.Type], f.Doc)
	}
	_ = w.Flush()
	return b.String()
}
