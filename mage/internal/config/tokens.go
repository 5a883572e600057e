package config

import (
	"fmt"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// expander replaces what ssh replaces in the paths of ssh_config: a leading ~,
// %-tokens and ${NAME}.
type expander struct {
	tokens    map[byte]string
	home      string
	homeOf    func(login string) (string, error)
	lookupEnv func(string) (string, bool)
}

// expander knows the values of the tokens for one host, which was asked for as
// original.
func (r *Resolver) expander(h Host, original string, s settings) expander {
	alias := h.HostKeyAlias
	if alias == "" {
		alias = original
	}
	short, _, _ := strings.Cut(r.Hostname, ".")
	return expander{
		home:      r.Home,
		homeOf:    homeOf,
		lookupEnv: r.LookupEnv,
		tokens: map[byte]string{
			'%': "%",
			'd': r.Home,
			'h': s.hostName.value,
			'i': strconv.Itoa(r.UID),
			'j': s.proxyJump.value,
			'k': alias,
			'L': short,
			'l': r.Hostname,
			'n': original,
			'p': strconv.Itoa(h.Port),
			'r': h.User,
			'u': r.User,
		},
	}
}

func homeOf(login string) (string, error) {
	u, err := user.Lookup(login)
	if err != nil {
		return "", err
	}
	return u.HomeDir, nil
}

// path expands one path and makes it absolute; a relative one is below dir.
func (e expander) path(s, dir string) (string, error) {
	expanded, err := e.tilde(s)
	if err == nil {
		expanded, err = e.text(expanded)
	}
	if err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	if !filepath.IsAbs(expanded) {
		expanded = filepath.Join(dir, expanded)
	}
	return filepath.Clean(expanded), nil
}

// tilde replaces ~ and ~login at the beginning.
func (e expander) tilde(s string) (string, error) {
	if !strings.HasPrefix(s, "~") {
		return s, nil
	}
	login, rest, _ := strings.Cut(s[1:], "/")
	home := e.home
	if login != "" {
		var err error
		if home, err = e.homeOf(login); err != nil {
			return "", err
		}
	}
	return filepath.Join(home, rest), nil
}

// text replaces %-tokens and ${NAME}, in one pass, so that a replaced value is
// not read again. Without lookupEnv a dollar sign is an ordinary character.
func (e expander) text(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			i++
			if i == len(s) {
				return "", fmt.Errorf("ends in %%; write %%%% for a percent sign")
			}
			value, ok := e.tokens[s[i]]
			if !ok {
				return "", fmt.Errorf("the token %%%c is not supported here", s[i])
			}
			b.WriteString(value)
		case e.lookupEnv != nil && strings.HasPrefix(s[i:], "${"):
			name, _, closed := strings.Cut(s[i+2:], "}")
			value, ok := e.lookupEnv(name)
			if !closed || !ok {
				return "", fmt.Errorf("the environment variable %q is not set", name)
			}
			b.WriteString(value)
			i += len(name) + 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}
