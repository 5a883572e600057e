package cmdline

import (
	"slices"
	"strings"
)

// CompleteCommand is the word with which a shell asks what could be typed: the
// words of the line so far follow, the last one being the one that is typed.
const CompleteCommand = "__complete"

// Candidate is something that could be typed.
type Candidate struct{ Word, Doc string }

// Values says what could be typed in a project. Each is asked only where it is
// needed; none is also an answer.
type Values struct {
	Hosts       func() []Candidate // and tags, and all
	Secrets     func() []Candidate
	Generations func(host string) []Candidate
	Inputs      func() []Candidate // of the flake
}

// fixed are the values of flags that have a few.
var fixed = map[string][]string{
	"action": {"switch", "boot", "test", "build", "dry"}, "buildon": {"auto", "local", "remote"},
	"system": {"x86", "arm"}, "shell": {"bash", "zsh", "fish"}, "kind": {"openclaw", "plain"},
}

// Complete gives the candidates for the last of the words that were typed after
// the program's name.
func (r *Reader) Complete(words []string, v Values) []Candidate {
	if len(words) == 0 {
		words = []string{""}
	}
	before, typed := words[:len(words)-1], words[len(words)-1]
	if at, ok := leading(before); ok || at == len(before) {
		before = before[min(at, len(before)):]
	}
	s := &scan{r: r}
	var t *Target
	var args []string
	for _, word := range before {
		if next := s.find(word); next != nil && (t == nil || len(args) >= len(t.Words)) {
			t, args = next, nil
			s.full = append(s.full, word)
			continue
		}
		if !strings.HasPrefix(word, "-") {
			args = append(args, word)
		}
	}
	if t == nil {
		if len(before) > 0 {
			return nil
		}
		return begin(r.names(), typed)
	}
	if name, value, ok := strings.Cut(strings.TrimLeft(typed, "-"), "="); ok && strings.HasPrefix(typed, "-") {
		return prefixed("-"+name+"=", values(t, t.flag(name), args, value, v))
	}
	if strings.HasPrefix(typed, "-") {
		return begin(t.flags(), "-"+strings.TrimLeft(typed, "-"))
	}
	return t.word(len(args), typed, v)
}

// names are the targets of the program, with what they do where that is known.
func (r *Reader) names() []Candidate {
	var all []Candidate
	prefix, _ := r.Prefix()
	for _, name := range r.Listed() {
		c := Candidate{Word: name}
		for i := range r.Targets {
			if strings.EqualFold(prefix+r.Targets[i].Name, name) {
				c.Doc = r.Targets[i].Synopsis()
			}
		}
		all = append(all, c)
	}
	return all
}

// Synopsis is the first sentence of the help, without the function's name.
func (t *Target) Synopsis() string {
	first, _, _ := strings.Cut(t.Doc, "\n")
	_, first, _ = strings.Cut(first, " ")
	return strings.TrimSuffix(first, ".")
}

func (t *Target) flags() []Candidate {
	var all []Candidate
	for _, f := range t.Flags {
		word := "-" + f.Name
		if f.Type != "bool" {
			word += "="
		}
		all = append(all, Candidate{word, f.Doc})
	}
	return all
}

// word completes a word that is no flag: the target's, or the next target's name.
func (t *Target) word(has int, typed string, v Values) []Candidate {
	kind := ""
	switch {
	case has < len(t.Words):
		kind = t.Words[has]
	case t.hosts() || t.hostFlag():
		kind = "hosts"
	}
	switch kind {
	case "host":
		return begin(v.Hosts(), typed)
	case "hosts":
		done, last := "", typed
		if i := strings.LastIndexByte(typed, ','); i >= 0 {
			done, last = typed[:i+1], typed[i+1:]
		}
		return prefixed(done, begin(v.Hosts(), last))
	case "name":
		return begin(v.Secrets(), typed)
	}
	return begin(simple(fixed[kind]), typed)
}

func values(t *Target, f *Flag, args []string, typed string, v Values) []Candidate {
	switch {
	case f == nil:
		return nil
	case f.Name == "host":
		return t.word(0, typed, v)
	case f.Name == "to" && len(args) > 0:
		return begin(v.Generations(args[0]), typed)
	case f.Name == "input":
		return begin(v.Inputs(), typed)
	case f.Type == "bool":
		return begin(simple([]string{"true", "false"}), typed)
	}
	return begin(simple(fixed[f.Name]), typed)
}

func simple(words []string) []Candidate {
	all := make([]Candidate, len(words))
	for i, w := range words {
		all[i].Word = w
	}
	return all
}

// begin keeps the candidates that begin with what was typed.
func begin(all []Candidate, typed string) []Candidate {
	return slices.DeleteFunc(slices.Clone(all), func(c Candidate) bool {
		return !strings.HasPrefix(strings.ToLower(c.Word), strings.ToLower(typed))
	})
}

func prefixed(with string, all []Candidate) []Candidate {
	for i := range all {
		all[i].Word = with + all[i].Word
	}
	return all
}
