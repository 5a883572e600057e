// Package next is what a person can do next, as data: a sentence in which
// commands keep their words apart. Only the place where a sentence is shown knows
// by which name a target is called there: "mage update", "mage vps:update" where
// a magefile imports the targets under a name, "go tool mage update" where no
// mage is installed, or "./servers update" of a compiled program.
//
// An error that knows what to do has a method
//
//	NextStep() next.Step
package next

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Step is what to do next. The zero value says nothing.
type Step struct{ parts []part }

// part is words, or a command.
type part struct {
	words   string
	command *Command
}

// Command is something to type into a shell.
type Command struct {
	Target string   // a target of this project; "" for another program
	Args   []string // of the target; or the other program and its arguments
}

// Target is the call of a target.
func Target(name string, args ...string) Step {
	return Step{[]part{{command: &Command{Target: name, Args: args}}}}
}

// Shell is the call of another program.
func Shell(argv ...string) Step {
	return Step{[]part{{command: &Command{Args: argv}}}}
}

// Say is a sentence, formatted as by [fmt.Sprintf]; an argument that is a Step is
// put in where its %s is.
func Say(format string, args ...any) Step {
	steps := map[string]Step{}
	flat := make([]any, len(args))
	for i, arg := range args {
		flat[i] = arg
		if step, ok := arg.(Step); ok {
			mark := "\x00" + strconv.Itoa(i) + "\x00"
			steps[mark], flat[i] = step, mark
		}
	}
	text := fmt.Sprintf(format, flat...)
	var s Step
	for text != "" {
		at := marks.FindStringIndex(text)
		if at == nil {
			at = []int{len(text), len(text)}
		}
		if at[0] > 0 {
			s.parts = append(s.parts, part{words: text[:at[0]]})
		}
		s.parts = append(s.parts, steps[text[at[0]:at[1]]].parts...)
		text = text[at[1]:]
	}
	return s
}

var marks = regexp.MustCompile("\x00[0-9]+\x00")

// Words is a sentence without commands.
func Words(text string) Step {
	if text == "" {
		return Step{}
	}
	return Step{[]part{{words: text}}}
}

// Or gives the first step that says something.
func Or(steps ...Step) Step {
	for _, s := range steps {
		if !s.IsZero() {
			return s
		}
	}
	return Step{}
}

// IsZero says whether there is nothing to say.
func (s Step) IsZero() bool { return len(s.parts) == 0 }

// Commands are the commands of the sentence, in its order.
func (s Step) Commands() []Command {
	var all []Command
	for _, p := range s.parts {
		if p.command != nil {
			all = append(all, *p.command)
		}
	}
	return all
}

// String is the sentence as it is to be read in this process: see [Here].
func (s Step) String() string {
	if s.IsZero() {
		return ""
	}
	return s.For(Here())
}

// For is the sentence with its targets called as a caller calls them. A command
// among words stands in backquotes, except at the end, after a colon.
func (s Step) For(c Caller) string {
	var b strings.Builder
	for i, p := range s.parts {
		switch {
		case p.command == nil:
			b.WriteString(p.words)
		case len(s.parts) == 1, i == len(s.parts)-1 && strings.HasSuffix(b.String(), ": "):
			b.WriteString(p.command.For(c))
		default:
			b.WriteString("`" + p.command.For(c) + "`")
		}
	}
	return b.String()
}

// MarshalText makes JSON show the sentence.
func (s Step) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// For is the line to type.
func (c Command) For(caller Caller) string {
	words := make([]string, 0, len(c.Args)+1)
	if c.Target != "" {
		words = append(words, caller.Command(c.Target))
	}
	for _, arg := range c.Args {
		words = append(words, Quote(arg))
	}
	return strings.Join(words, " ")
}

// plain are words that no shell changes: no pattern, no ~ or = that could expand.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./~-]*$`)

// Quote writes a word so that a POSIX shell reads it as it is.
func Quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Of is what an error, or the nearest one that it wraps, says to do next.
func Of(err error) Step {
	var knows interface{ NextStep() Step }
	if errors.As(err, &knows) {
		return knows.NextStep()
	}
	return Step{}
}

// With gives an error a step; its text stays.
func With(err error, step Step) error { return &withStep{err, step} }

type withStep struct {
	error
	step Step
}

func (e *withStep) Unwrap() error  { return e.error }
func (e *withStep) NextStep() Step { return e.step }
