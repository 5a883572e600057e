package config

import (
	"strings"
)

// directive applies one line that is not Host, Match or Include. The first
// value of a keyword wins; IdentityFile collects.
func (f *fileReader) directive(at lineAt, keyword, rest string, active bool) error {
	d, counts := directives[keyword]
	if !counts {
		return f.other(at, keyword, rest, active)
	}
	if d.raw {
		if rest == "" {
			return f.fail(at, "%s has no argument", keyword)
		}
		d.apply(f, []string{rest}, active)
		return nil
	}
	words, err := f.words(at, keyword, rest)
	if err != nil {
		return err
	}
	if len(words) > 1 && !d.many {
		return f.fail(at, "%s has more than one argument: %q", keyword, rest)
	}
	if problem := d.apply(f, words, active); problem != "" {
		return f.fail(at, "%s %s: %s", keyword, rest, problem)
	}
	return nil
}

// directive is a keyword that counts for connecting. apply returns what is
// wrong with the value, also where the line does not apply.
type directive struct {
	many  bool // takes several arguments
	raw   bool // takes the rest of the line as it is
	apply func(f *fileReader, args []string, active bool) (problem string)
}

var directives = map[string]directive{
	"hostname":             {apply: applyHostName},
	"user":                 {apply: first(func(f *fileReader) *setting[string] { return &f.s.user })},
	"port":                 {apply: applyPort},
	"identityfile":         {apply: applyIdentityFile},
	"identitiesonly":       {apply: applyIdentitiesOnly},
	"identityagent":        {apply: first(func(f *fileReader) *setting[string] { return &f.s.identityAgent })},
	"hostkeyalias":         {apply: first(func(f *fileReader) *setting[string] { return &f.s.hostKeyAlias })},
	"userknownhostsfile":   {many: true, apply: files(func(f *fileReader) *setting[[]string] { return &f.s.knownHosts })},
	"globalknownhostsfile": {many: true, apply: files(func(f *fileReader) *setting[[]string] { return &f.s.globalKnownHosts })},
	"proxyjump":            {apply: applyProxyJump},
	"proxycommand":         {raw: true, apply: applyProxyCommand},
}

func first(field func(*fileReader) *setting[string]) func(*fileReader, []string, bool) string {
	return func(f *fileReader, args []string, active bool) string {
		if s := field(f); active && !s.set {
			*s = setting[string]{args[0], true}
		}
		return ""
	}
}

func files(field func(*fileReader) *setting[[]string]) func(*fileReader, []string, bool) string {
	return func(f *fileReader, args []string, active bool) string {
		paths := []string{}
		for _, arg := range args {
			if !strings.EqualFold(arg, "none") {
				paths = append(paths, arg)
			} else if len(args) > 1 {
				return "none stands alone"
			}
		}
		if s := field(f); active && !s.set {
			*s = setting[[]string]{paths, true}
		}
		return ""
	}
}

// applyHostName expands %h. In the final pass ssh keeps the name it has.
func applyHostName(f *fileReader, args []string, active bool) string {
	name, err := expander{tokens: map[byte]string{'%': "%", 'h': f.q.name}}.text(args[0])
	if !active || f.final || f.s.hostName.set {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	f.s.hostName = setting[string]{name, true}
	return ""
}

func applyPort(f *fileReader, args []string, active bool) string {
	port, err := parsePort(args[0])
	if err != nil {
		return "not a port (1 to 65535)"
	}
	if active && !f.s.port.set {
		f.s.port = setting[int]{port, true}
	}
	return ""
}

func applyIdentityFile(f *fileReader, args []string, active bool) string {
	if active {
		f.s.identities = setting[[]string]{appendNew(f.s.identities.value, args[0]), true}
	}
	return ""
}

func applyIdentitiesOnly(f *fileReader, args []string, active bool) string {
	var value bool
	switch strings.ToLower(args[0]) {
	case "yes", "true":
		value = true
	case "no", "false":
	default:
		return "neither yes nor no"
	}
	if active && !f.s.identitiesOnly.set {
		f.s.identitiesOnly = setting[bool]{value, true}
	}
	return ""
}

// applyProxyJump and applyProxyCommand exclude each other: the first one wins,
// except that a ProxyJump none leaves the way to a ProxyCommand.
func applyProxyJump(f *fileReader, args []string, active bool) string {
	value := args[0]
	if strings.EqualFold(value, "none") {
		value = "none"
	} else if _, err := parseHops(value); err != nil {
		return err.Error()
	}
	if active && !f.s.proxyJump.set && !f.s.proxyCommand.set {
		f.s.proxyJump = setting[string]{value, true}
	}
	return ""
}

func applyProxyCommand(f *fileReader, args []string, active bool) string {
	if !active || f.s.proxyCommand.set || f.s.proxyJump.set && f.s.proxyJump.value != "none" {
		return ""
	}
	if strings.EqualFold(args[0], "none") {
		f.s.proxyCommand = setting[string]{"", true}
		f.s.proxyJump = setting[string]{"none", true}
		return ""
	}
	f.s.proxyCommand = setting[string]{args[0], true}
	f.s.proxyJump = setting[string]{}
	return ""
}

// other handles keywords that do not count for connecting, and refuses those
// that nobody knows: a mistyped HostName would lead to another machine.
func (f *fileReader) other(at lineAt, keyword, rest string, active bool) error {
	switch {
	case keyword == "ignoreunknown":
		if active && f.ignore == "" {
			f.ignore = strings.ToLower(strings.Trim(rest, `"`))
		}
		return nil
	case keyword == "canonicalizehostname":
		value, err := f.word(at, "CanonicalizeHostname", rest)
		if err == nil && active && !strings.EqualFold(value, "no") && !strings.EqualFold(value, "false") {
			return f.fail(at, "CanonicalizeHostname %s cannot be decided without an ssh program", value)
		}
		return err
	case otherKeywords[keyword], f.ignore != "" && matchList(keyword, f.ignore):
		return nil
	}
	return f.fail(at, "the keyword %q is not understood", keyword)
}
