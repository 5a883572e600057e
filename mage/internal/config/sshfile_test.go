package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What cannot be decided without an ssh program is refused by file and line.
func TestOwnReaderRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\nMatch exec true\n Port 1\n":            ":2: Match exec cannot be decided",
		"Match host a.example exec \"x y\"\n":     ":1: Match exec cannot be decided",
		"Match localnetwork 10.0.0.0/8\n":         ":1: Match localnetwork cannot be decided",
		"Match tagged x\n":                        ":1: Match tagged cannot be decided",
		"Match foo x\n":                           ":1: Match foo is not understood",
		"Match host 'a b'\n":                      ":1: Match host 'a b': quotes and backslashes are not understood",
		"Match host\n":                            ":1: Match host has no argument",
		"Match host \"\"\n":                       ":1: Match host has no argument",
		"Match\n":                                 ":1: Match has no criteria",
		"Match all host x\n":                      ":1: Match all cannot be combined",
		"Match final host x all\n":                ":1: Match all cannot be combined",
		"Match !all\n":                            ":1: Match !all is not understood",
		"CanonicalizeHostname yes\n":              ":1: CanonicalizeHostname yes cannot be decided",
		"Hostnam x\n":                             `:1: the keyword "hostnam" is not understood`,
		"\"Port\" 22\n":                           `:1: the keyword "\"port\"" is not understood`,
		"Port 22 23\n":                            ":1: port has more than one argument",
		"Port x\n":                                ":1: port x: not a port",
		"Host nope\n Port 0\n":                    ":2: port 0: not a port",
		"User \"x\n":                              ":1: user \"x: a quote is not closed",
		"HostName\n":                              ":1: hostname has no argument",
		"HostName \"\"\n":                         ":1: hostname has an empty argument",
		"HostName %n\n":                           ":1: hostname %n: the token %n is not supported",
		"HostName 5%\n":                           ":1: hostname 5%: ends in %",
		"IdentitiesOnly perhaps\n":                ":1: identitiesonly perhaps: neither yes nor no",
		"UserKnownHostsFile none x\n":             ":1: userknownhostsfile none x: none stands alone",
		"ProxyCommand\n":                          ":1: proxycommand has no argument",
		"ProxyJump a,\n":                          ":1: proxyjump a,: ",
		"Host\n":                                  ":1: Host has no argument",
		"Include %d/x\n":                          `:1: Include "%d/x": tokens and variables`,
		"Include ~nobody_at_all/x\n":              `:1: Include "~nobody_at_all/x": `,
		"Include \"[\"\n":                         `:1: Include "[": syntax error in pattern`,
		"Host nope\nInclude ssh_config\n":         "nested more than 16 deep",
		strings.Repeat("#", maxFileSize+1) + "\n": "larger than",
	} {
		r := resolver(t, "", "")
		dir := filepath.Dir(r.SSHConfig)
		text = strings.ReplaceAll(text, "Include ssh_config", "Include "+r.SSHConfig)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "ssh_config"), []byte(text), 0o600))
		_, err := r.Resolve(context.Background(), "a.example")
		if assert.ErrorContains(t, err, want, "%.40q", text) {
			assert.Contains(t, err.Error(), r.SSHConfig)
			assert.NotEmpty(t, hint(t, err))
		}
	}
}

// The usual two files: the user's first, each missing file skipped, relative
// Includes below the folder of their kind, a file that others write refused.
func TestOwnReaderUsesBothUsualFiles(t *testing.T) {
	t.Parallel()
	home, system := t.TempDir(), t.TempDir()
	r := resolver(t, "", "")
	r.SSHConfig, r.Home, r.SystemSSHConfig = "", home, filepath.Join(system, "ssh_config")
	h := one(t, r, "a.example")
	assert.Equal(t, "a.example:2222", h.Endpoint(), "no file at all")
	assert.Equal(t, []string{home + "/.ssh/known_hosts", home + "/.ssh/known_hosts2"}, h.KnownHosts)

	mine := write(t, home, ".ssh/config", "Include more.conf ~/.ssh/tilde.conf\n")
	write(t, home, ".ssh/more.conf", "User mine\n")
	write(t, home, ".ssh/tilde.conf", "IdentityFile ~/tilde\n")
	write(t, system, "ssh_config", "Include more.conf\nUser system\n")
	write(t, system, "more.conf", "Port 24\n")
	h = one(t, r, "a.example")
	assert.Equal(t, []any{"mine", 24, []string{home + "/tilde"}}, []any{h.User, h.Port, h.Identities})

	require.NoError(t, os.Chmod(mine, 0o620))
	_, err := r.Resolve(context.Background(), "a.example")
	assert.ErrorContains(t, err, "others may write it (mode 0620)")
}

func TestOwnReaderWithoutFiles(t *testing.T) {
	t.Parallel()
	r := resolver(t, "", "Port 24\n")
	r.SSHConfig = "none"
	assert.Equal(t, 2222, one(t, r, "a.example").Port)
	r.SSHConfig = filepath.Join(t.TempDir(), "missing")
	_, err := r.Resolve(context.Background(), "a.example")
	assert.ErrorIs(t, err, os.ErrNotExist, "a file that was asked for must be there")
}

func TestTokens(t *testing.T) {
	t.Parallel()
	r := resolver(t, "", "Host web\n HostName w.example\n User u\n Port 24\n HostKeyAlias key\n"+
		" IdentityFile %d|%h|%i|%j|%k|%L|%l|%n|%p|%r|%u|%%|${SET}\n IdentityFile ~\n IdentityFile rel\n ProxyJump gate.example\n")
	assert.Equal(t, []string{
		"/home/me|w.example|1000|gate.example|key|laptop|laptop.example.net|web|24|u|me|%|env-SET",
		"/home/me", "/work/rel",
	}, one(t, r, "web").Identities)
}

// Keeps away: a pattern that takes exponential time.
func TestMatchPattern(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		s, pattern string
		want       bool
	}{
		{"", "", true}, {"", "*", true}, {"", "?", false}, {"a", "", false}, {"a", "?", true}, {"ab", "?", false},
		{"abc", "a*c", true}, {"abcbc", "a*bc", true}, {"abcb", "a*bc", false}, {"abc", "***", true}, {"a.c", "a.?", true},
		{"axc", "a.c", false}, {strings.Repeat("a", 5000), strings.Repeat("*a", 500) + "b", false},
	} {
		assert.Equal(t, tc.want, matchPattern(tc.s, tc.pattern), "%.20q %.20q", tc.s, tc.pattern)
	}
}
