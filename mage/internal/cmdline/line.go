package cmdline

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Line is what was typed, read.
type Line struct {
	Args    []string // as mage understands them
	Help    *Target  // help was asked for
	Version bool     // the version was asked for
}

// Error is a line that cannot be understood.
type Error struct {
	Problem string
	Target  *Target // whose help says more; or nil
	Instead string  // a target that was probably meant; or ""
}

func (e *Error) Error() string { return e.Problem }

// Reader reads lines.
type Reader struct {
	Targets []Target
	// Listed gives the names of all targets of the program, as it lists them: the
	// targets may be imported under a name, and be among others. It is asked only
	// about lines that mage would not read as they are meant.
	Listed func() []string
}

// Read reads the words after the program's name. A line that is about targets of
// somebody else's stays as it is.
func (r *Reader) Read(args []string) (Line, error) {
	as := Line{Args: args}
	at, ok := leading(args)
	if !ok {
		return as, nil
	}
	s := &scan{r: r, words: args[at:], out: slices.Clone(args[:at])}
	switch strings.TrimLeft(args[at], "-") {
	case "version":
		return Line{Version: true}, nil
	case "help", "h":
		if at+1 == len(args) {
			return Line{Args: []string{"-l"}}, nil
		}
		s.words = append(slices.Clone(args[at+1:]), "-help")
	}
	line, err := s.read()
	var unknown *unknownTarget
	switch {
	case errors.As(err, &unknown):
		return as, r.unknown(unknown.name)
	case err == nil && line.Help == nil && slices.Equal(line.Args, args):
		return as, nil
	case !r.ours(s):
		return as, r.unknown(s.full[0])
	}
	return line, err
}

// leading skips mage's own flags, up to a target or to what is answered here. It
// says no where mage answers.
func leading(args []string) (at int, ok bool) {
	for at < len(args) {
		name, _, has := strings.Cut(strings.TrimLeft(args[at], "-"), "=")
		switch {
		case !strings.HasPrefix(args[at], "-"), name == "version", name == "help", name == "h" && at+1 < len(args):
			return at, true
		case name == "v", name == "t" && has:
			at++
		case name == "t":
			at += 2
		default:
			return at, false
		}
	}
	return at, false
}

// ours says whether the program has the targets under the name that was typed.
func (r *Reader) ours(s *scan) bool {
	prefix, ok := r.Prefix()
	return ok && prefix == s.prefix
}

// Prefix is the name under which the targets are imported, with its colon.
func (r *Reader) Prefix() (prefix string, ok bool) {
	for _, l := range r.Listed() {
		if prefix, ok := strings.CutSuffix(strings.ToLower(l), "secrets:rotate"); ok {
			return prefix, true
		}
	}
	return "", false
}

// unknown is the error of a target that nobody has, if one of like name exists.
func (r *Reader) unknown(name string) error {
	plain := name[strings.LastIndex(name, ":")+1:]
	var near []string
	for _, t := range r.Targets {
		if distance(name, t.Name) <= 2 || distance(plain, t.Name[strings.LastIndex(t.Name, ":")+1:]) <= 2 {
			near = append(near, t.Name)
		}
	}
	if len(near) == 0 {
		return nil // mage says so
	}
	listed := r.Listed()
	if slices.ContainsFunc(listed, func(l string) bool { return strings.EqualFold(l, name) }) {
		return nil
	}
	best := Closest(name, listed)
	for _, l := range listed {
		if strings.HasSuffix(strings.ToLower(l), ":"+strings.ToLower(name)) {
			best = l
		}
	}
	if best == "" {
		return nil
	}
	return &Error{Problem: fmt.Sprintf("unknown target %q; did you mean %q?", name, best), Instead: best}
}

// unknownTarget is a first word that is none of ours.
type unknownTarget struct{ name string }

func (e *unknownTarget) Error() string { return "unknown target " + e.name }

// scan is one line, as far as it was read.
type scan struct {
	r      *Reader
	words  []string
	prefix string   // under which the targets are imported, with its colon
	full   []string // the names of the targets that were read
	out    []string
}

// find finds a target by the name that was typed. The first one says under which
// prefix they are imported: the longest name that fits leaves the shortest.
func (s *scan) find(word string) *Target {
	name := strings.ToLower(word)
	var found *Target
	prefix := s.prefix
	for i := range s.r.Targets {
		t := &s.r.Targets[i]
		before, ok := strings.CutSuffix(name, strings.ToLower(t.Name))
		switch {
		case !ok, before != "" && !strings.HasSuffix(before, ":"), len(s.full) > 0 && before != s.prefix:
		case found == nil || len(before) < len(prefix):
			found, prefix = t, before
		}
	}
	if found != nil {
		s.prefix = prefix
	}
	return found
}

func (s *scan) read() (Line, error) {
	for len(s.words) > 0 {
		word := s.words[0]
		t := s.find(word)
		if t == nil && len(s.full) == 0 {
			return Line{}, &unknownTarget{word}
		}
		if t == nil { // a target of somebody else's: mage reads on
			s.out = append(s.out, s.words...)
			break
		}
		s.words = s.words[1:]
		s.full = append(s.full, word)
		s.out = append(s.out, word)
		help, err := s.target(t)
		if err != nil {
			return Line{}, err
		}
		if help {
			return Line{Help: t}, nil
		}
	}
	return Line{Args: s.out}, nil
}

// target reads what belongs to one target.
func (s *scan) target(t *Target) (help bool, err error) {
	var words, flags []string
	for len(s.words) > 0 {
		word := s.words[0]
		if len(word) > 1 && word[0] == '-' {
			flag, err := s.flag(t)
			if err != nil || flag == "" {
				return flag == "" && err == nil, err
			}
			flags = append(flags, flag)
			continue
		}
		if s.endsWith(t, len(words), word) {
			break
		}
		s.words = s.words[1:]
		words = append(words, word)
	}
	words, flags, err = t.complete(words, flags)
	s.out = append(append(s.out, words...), flags...)
	return false, err
}

// endsWith says whether a word is the next target, rather than one more word of
// this one that has so many.
func (s *scan) endsWith(t *Target, has int, word string) bool {
	missing := has < len(t.Words)
	if missing && !slices.Contains(allHosts, t.Name) {
		return false
	}
	if s.find(word) != nil {
		return true
	}
	return !missing && slices.ContainsFunc(s.r.Listed(), func(l string) bool { return strings.EqualFold(l, word) })
}

// flag reads a flag and its value; "" is a call for help.
func (s *scan) flag(t *Target) (string, error) {
	name, value, has := strings.Cut(strings.TrimLeft(s.words[0], "-"), "=")
	s.words = s.words[1:]
	f := t.flag(name)
	switch {
	case f == nil && (name == "help" || name == "h") && !has:
		return "", nil
	case f == nil:
		return "", t.unknownFlag(name)
	case f.Type == "bool" && !has:
		return "-" + f.Name, nil
	case !has && (len(s.words) == 0 || len(s.words[0]) > 1 && s.words[0][0] == '-'):
		return "", &Error{Problem: fmt.Sprintf("-%s needs a value, as in -%s=%s", f.Name, f.Name, f.example()), Target: t}
	case !has:
		value, s.words = s.words[0], s.words[1:]
	}
	value, err := f.read(value)
	if err != nil {
		return "", &Error{Problem: err.Error(), Target: t}
	}
	return "-" + f.Name + "=" + value, nil
}

func (t *Target) unknownFlag(name string) error {
	var names []string
	for _, f := range t.Flags {
		names = append(names, f.Name)
	}
	problem := fmt.Sprintf("%s has no flag -%s", t.Name, name)
	switch near := Closest(name, names); {
	case near != "":
		problem += fmt.Sprintf("; did you mean -%s?", near)
	case len(names) == 0:
		problem += ", nor any other"
	default:
		problem += "; it has -" + strings.Join(names, ", -")
	}
	return &Error{Problem: problem, Target: t}
}

// read makes of a value what mage understands.
func (f *Flag) read(value string) (string, error) {
	wrong := func() error {
		return fmt.Errorf("-%s=%s: must be %s, as in -%s=%s", f.Name, value, kinds[f.Type], f.Name, f.example())
	}
	switch f.Type {
	case "int":
		if _, err := strconv.Atoi(value); err != nil {
			return "", wrong()
		}
	case "bool":
		if _, err := strconv.ParseBool(value); err != nil {
			return "", wrong()
		}
	case "time.Duration":
		if _, err := strconv.ParseUint(value, 10, 32); err == nil {
			return value + "s", nil // a number alone is seconds
		}
		if _, err := time.ParseDuration(value); err != nil {
			return "", wrong()
		}
	}
	return value, nil
}

var kinds = map[string]string{"int": "a number", "bool": "true or false", "time.Duration": "a time"}

func (f *Flag) example() string {
	return map[string]string{"int": "8", "bool": "true", "time.Duration": "90s"}[f.Type] +
		map[bool]string{true: "TEXT"}[f.Type == "string"]
}

// complete puts the words of a target into the form that mage wants.
func (t *Target) complete(words, flags []string) ([]string, []string, error) {
	switch {
	case t.hostFlag() && len(words) > 0:
		return nil, append(flags, "-host="+strings.Join(words, ",")), nil
	case len(words) < len(t.Words) && slices.Contains(allHosts, t.Name):
		return []string{"all"}, flags, nil
	case len(words) < len(t.Words):
		return nil, nil, &Error{Problem: fmt.Sprintf("%s needs %s", t.Name, t.wants()), Target: t}
	case t.hosts() && len(words) > 1:
		return []string{strings.Join(words, ",")}, flags, nil
	case len(words) > len(t.Words) && strings.HasPrefix(t.Name, "secrets:"):
		// What is too much may be the value of a secret.
		return nil, nil, &Error{Problem: t.Name + " was given too many words; the value of a secret is never an argument, which others could read: it comes from stdin", Target: t}
	case len(words) > len(t.Words):
		return nil, nil, &Error{Problem: fmt.Sprintf("%s takes %s, and %q is neither that nor a target", t.Name, t.wants(), words[len(t.Words)]), Target: t}
	}
	return words, flags, nil
}

// wants names the words of a target.
func (t *Target) wants() string {
	if len(t.Words) == 0 {
		return "no words"
	}
	var names []string
	for _, w := range t.Words {
		names = append(names, strings.ToUpper(w))
	}
	return strings.Join(names, " and ")
}

// Closest is the name most like a word, or "" when none is alike.
func Closest(word string, names []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, name := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance counts the letters to change, add, leave out or exchange with the next.
func distance(a, b string) int {
	var before, above []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above[j+1]+1, row[j]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
