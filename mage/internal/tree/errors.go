package tree

import (
	"errors"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Error says which file of the project keeps the tree from being deployed.
type Error struct {
	Path   string    // relative to the project folder, with slashes
	Line   int       // counted from 1; 0 when the whole file is meant
	Reason string    // what is wrong with it
	Next   next.Step // what to do about it, an imperative sentence
	Err    error     // the cause, when there is one
}

// Error names the file, the line if there is one, and the reason.
func (e *Error) Error() string {
	where := fmt.Sprintf("%q", e.Path)
	if e.Line > 0 {
		where = fmt.Sprintf("\"%s:%d\"", e.Path, e.Line)
	}
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", where, e.Reason, e.Err)
	}
	return where + ": " + e.Reason
}

// NextStep is the next thing to do.
func (e *Error) NextStep() next.Step { return e.Next }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// maxProblems bounds what one attempt reports: beyond it the cause is one and
// the same, and the list only hides it.
const maxProblems = 20

// problems gathers what is wrong, so that one attempt shows all of it.
type problems struct {
	list []error
	more int
}

func (p *problems) add(err error) {
	switch {
	case err == nil:
	case len(p.list) == maxProblems:
		p.more++
	default:
		p.list = append(p.list, err)
	}
}

func (p *problems) err() error {
	if len(p.list) == 1 {
		return p.list[0]
	}
	all := p.list
	if p.more > 0 {
		all = append(all, fmt.Errorf("and %d more files like these", p.more))
	}
	return errors.Join(all...)
}
