package run

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"
)

// Generation is one generation of the system profile.
type Generation struct {
	Number  int
	Made    time.Time
	System  string // store path
	Version string // NixOS version

	// Record is the commit that made it; of one that the server made by itself
	// (Upgraded), the commit whose tree it was built from. Nil: older than our
	// first commit.
	Record   *Record
	Upgraded bool
	Tree     bool // the tree is kept: rollback can restore both

	Default bool // what the server boots
	Current bool // what it runs
	Booted  bool // what it booted last
}

// ParseGenerations reads the output of [Shell.Generations], oldest first.
func ParseGenerations(r io.Reader) ([]Generation, error) {
	var list []Generation
	var profile int64
	var current, booted string
	whole := false
	err := readFields("generations", r, func(key, value string) (err error) {
		switch key {
		case "generation":
			var n int64
			if n, err = number(value); err == nil {
				list, err = bounded(list, Generation{Number: int(n)})
			}
			return err
		case "profile":
			whole = true
			profile, err = number(value)
			return err
		case "current":
			current = value
		case "booted":
			booted = value
		default:
			if len(list) > 0 {
				return list[len(list)-1].set(key, value)
			}
		}
		return nil
	})
	if err == nil && !whole {
		err = &ParseError{What: "generations", Err: errors.New("there are none")}
	}
	if err != nil {
		return nil, err
	}
	for i := range list {
		g := &list[i]
		g.Default = g.Number == int(profile)
		g.Current, g.Booted = g.System == current, g.System == booted
	}
	slices.SortFunc(list, func(a, b Generation) int { return a.Number - b.Number })
	return list, nil
}

func (g *Generation) set(key, value string) (err error) {
	if rest, ok := strings.CutPrefix(key, "record."); ok {
		if g.Record == nil {
			g.Record = &Record{}
		}
		return g.Record.set(rest, value)
	}
	switch key {
	case "system":
		g.System = value
	case "version":
		g.Version = value
	case "made":
		g.Made, err = unix(value)
	case "upgraded":
		g.Upgraded = value == "1"
	case "tree":
		g.Tree = value == "1"
	}
	return err
}
