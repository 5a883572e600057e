package term

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Info tells what happens.
func (u *UI) Info(format string, args ...any) { u.say("", "", format, args) }

// Success tells that something went well.
func (u *UI) Success(format string, args ...any) { u.say(green, "done: ", format, args) }

// Warn tells what may become a problem.
func (u *UI) Warn(format string, args ...any) { u.say(yellow, "warning: ", format, args) }

// Hint tells what could be done next.
func (u *UI) Hint(format string, args ...any) { u.say(bold, "hint: ", format, args) }

func (u *UI) say(s style, label, format string, args []any) {
	u.story(u.paint(u.err, s, label) + cleanLines(fmt.Sprintf(format, args...)) + "\n")
}

// Error tells the three parts of an error: what failed, the state now and the
// next command. The latter two are what the error, or one that it wraps, says
// with State() and NextStep(). Joined errors are told one by one; nil is not told.
func (u *UI) Error(err error) {
	var b strings.Builder
	for _, one := range split(err) {
		b.WriteString(u.paint(u.err, red, "error: "))
		b.WriteString(indent(one.Error()))
		for _, state := range saidBy(one, stateOf) {
			b.WriteString("  " + u.paint(u.err, bold, "state: ") + indent(state))
		}
		for _, hint := range saidBy(one, hintOf) {
			b.WriteString("  " + u.paint(u.err, bold, "next: ") + indent(hint))
		}
	}
	if b.Len() > 0 {
		u.story(b.String())
	}
}

// indent cleans a text of several lines and sets all but the first off.
func indent(text string) string {
	return strings.ReplaceAll(cleanLines(strings.TrimSpace(text)), "\n", "\n    ") + "\n"
}

// split undoes errors.Join, however often it was used.
func split(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var texts []string
	var all []error
	for _, part := range joined.Unwrap() {
		texts = append(texts, part.Error())
		all = append(all, split(part)...)
	}
	if err.Error() != strings.Join(texts, "\n") {
		return []error{err} // it adds words of its own
	}
	return all
}

func hintOf(err error) string {
	if n, ok := err.(interface{ NextStep() next.Step }); ok {
		return n.NextStep().String()
	}
	return ""
}

func stateOf(err error) string {
	if s, ok := err.(interface{ State() string }); ok {
		return s.State()
	}
	return ""
}

// saidBy collects what get finds in err: the outermost of a chain, and one for
// each branch where an error wraps several.
func saidBy(err error, get func(error) string) []string {
	if err == nil {
		return nil
	}
	if text := get(err); text != "" {
		return []string{text}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return saidBy(errors.Unwrap(err), get)
	}
	var all []string
	for _, part := range joined.Unwrap() {
		for _, text := range saidBy(part, get) {
			if !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}
