package vpstest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Conf returns the text of the [ConfFile] that makes a system behave like s.
func (s System) Conf() string {
	var b strings.Builder
	for _, f := range s.fields() {
		if text := f.get(); text != "" {
			fmt.Fprintf(&b, "%s=%s\n", f.key, strconv.Quote(text))
		}
	}
	for _, u := range s.Units {
		fmt.Fprintf(&b, "unit=%s\n", strconv.Quote(strings.Join([]string{
			u.Name, u.State, milliseconds(u.After), u.User, milliseconds(u.For), strconv.FormatBool(u.Foreign)}, " ")))
	}
	return b.String()
}

// parseSystem reads what [System.Conf] wrote.
func parseSystem(text string) (System, error) {
	var s System
	fields := s.fields()
	for n, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.set(fields, line); err != nil {
			return System{}, fmt.Errorf("%s:%d: %w", ConfFile, n+1, err)
		}
	}
	return s, nil
}

func (s *System) set(fields []field, line string) error {
	key, quoted, _ := strings.Cut(line, "=")
	text, err := strconv.Unquote(quoted)
	if err != nil {
		return fmt.Errorf("the value of %q is not quoted", key)
	}
	if key == "unit" {
		return s.addUnit(text)
	}
	for _, f := range fields {
		if f.key == key {
			return f.set(text)
		}
	}
	return fmt.Errorf("unknown setting %q", key)
}

func (s *System) addUnit(text string) error {
	words := strings.Split(text, " ")
	if len(words) != 6 {
		return fmt.Errorf("a unit is a name, a state, milliseconds, a user, milliseconds and a truth, not %q", text)
	}
	after, err := parseMilliseconds(words[2])
	if err != nil {
		return err
	}
	lasts, err := parseMilliseconds(words[4])
	s.Units = append(s.Units, Unit{Name: words[0], State: words[1], After: after, User: words[3], For: lasts, Foreign: words[5] == "true"})
	return err
}

// A field ties a setting's name to the text of its value.
type field struct {
	key string
	get func() string
	set func(string) error
}

func (s *System) fields() []field {
	return []field{
		textField("buildfails", &s.BuildFails), timeField("buildtime", &s.BuildTime),
		intField("buildlines", &s.BuildLines), wordsField("outputs", &s.Outputs),
		textField("version", &s.Version), intField("kernel", &s.Kernel),
		textField("inhibited", &s.Inhibited), timeField("hang", &s.Hang),
		timeField("stall", &s.Stall), intField("exit", &s.Exit), boolField("early", &s.Early),
		textField("output", &s.Output), boolField("bootfails", &s.BootFails),
		textField("facts", &s.Facts), boolField("noswitch", &s.NoSwitch), wordsField("snippets", &s.Snippets),
		textField("ssh", &s.SSH), intField("port", &s.Port), wordsField("missing", &s.Missing),
		boolField("filldisk", &s.FillDisk), intField("leavefails", &s.LeaveFails),
	}
}

func textField(key string, p *string) field {
	return field{key, func() string { return *p }, func(text string) error { *p = text; return nil }}
}

func wordsField(key string, p *[]string) field {
	return field{key, func() string { return strings.Join(*p, " ") },
		func(text string) error { *p = strings.Fields(text); return nil }}
}

func boolField(key string, p *bool) field {
	get := func() string {
		if *p {
			return "1"
		}
		return ""
	}
	return field{key, get, func(text string) error { *p = text == "1"; return nil }}
}

func intField[T int | int64](key string, p *T) field {
	get := func() string {
		if *p == 0 {
			return ""
		}
		return fmt.Sprint(*p)
	}
	return field{key, get, func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		*p = T(n)
		return err
	}}
}

func timeField(key string, p *time.Duration) field {
	get := func() string {
		if *p == 0 {
			return ""
		}
		return milliseconds(*p)
	}
	return field{key, get, func(text string) (err error) {
		*p, err = parseMilliseconds(text)
		return err
	}}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func parseMilliseconds(text string) (time.Duration, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return time.Duration(n) * time.Millisecond, err
}
