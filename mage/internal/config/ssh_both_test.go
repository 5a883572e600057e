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

// bothWays are ssh_configs that the ssh program and our own reader must
// understand alike, each with the hosts to ask for. DIR is a folder with
// DIR/inc/a, b and .hidden.
var bothWays = map[string]struct {
	config string
	hosts  string
}{
	"nothing configured": {"", "a.example 203.0.113.1 2001:DB8:0::1 bob@a.example:24"},
	"plain": {"Host web\n HostName web.example\n Port 24\n User deploy\n IdentityFile ~/.ssh/k\n IdentitiesOnly yes\n",
		"web bob@web:25 web.example"},
	"port 22 said aloud":             {"Host web\n HostName web.example\n Port 22\n", "web"},
	"login name said aloud":          {"Host web\n HostName web.example\n User LOGIN\n", "web"},
	"first value wins":               {"Host w*\n Port 1\nHost web\n Port 2\n HostName x.example\n HostName y.example\n", "web"},
	"negated pattern":                {"Host * !web\n Port 7\nHost *\n HostName %h.example\n", "web db"},
	"question mark is one character": {"Host web?\n Port 7\nHost *\n HostName %h.example\n", "web web1 web12"},
	"patterns are case-sensitive":    {"Host WEB\n Port 7\nHost *\n HostName %h.example\n", "web WEB"},
	"equals and quotes":              {"Host=\"web\"  'db'\n HostName = \"%h.example\"\n Port=\"24\"\n User \"o_neil\" # not me\n", "web db"},
	"hash inside":                    {"Host web\n HostName web.example\n IdentityFile \"~/my key #1\"\n IdentityFile a#b\n", "web"},
	"backslashes":                    {"Host web\n HostName web.example\n IdentityFile a\\b\n IdentityFile \"a\\\\b\\\"c\"\n IdentityFile ~/my\\ key\n", "web"},
	"carriage returns":               {"Host web\r\n  HostName web.example\r\n\tPort\t24\f\r\n", "web"},
	"percent in HostName":            {"Host web\n HostName %h.a%%b.example\nHost db\n HostName %h-%h.example\n", "db"},
	"identity tokens": {"Host web\n HostName Web.Example\n User deploy\n Port 24\n" +
		" IdentityFile ~/.ssh/%h_%p_%r_%n\n IdentityFile %d/%u%i\n IdentityFile ${SET}/100%%\n IdentityFile ~root/k\n IdentityFile rel/x\n", "web"},
	"identities collect once": {"Host web\n HostName web.example\n IdentityFile ~/x\n IdentityFile ~/x\nHost *\n IdentityFile ~/y\n", "web db.example"},
	"no identity at all":      {"Host *\n IdentityFile none\n", "a.example"},
	"known hosts":             {"Host web\n HostName web.example\n UserKnownHostsFile ~/a /b/%%c %d/e\n GlobalKnownHostsFile /x/y \"/p q/r\"\n HostKeyAlias WEB\n", "web"},
	"no known hosts":          {"UserKnownHostsFile none\nGlobalKnownHostsFile none\n", "a.example"},
	"agents": {"Host a.*\n IdentityAgent none\nHost b.*\n IdentityAgent SSH_AUTH_SOCK\nHost c.*\n IdentityAgent $SET\nHost d.*\n IdentityAgent \"~/my agent/%h.sock\"\n",
		"a.example b.example c.example d.example"},
	"jump hosts": {"Host web\n HostName web.example\n ProxyJump me@hop:24,[2001:db8::1]:33,last.example\n" +
		"Host hop\n HostName hop.example\n Port 99\n IdentityFile ~/hop\n ProxyJump outer\nHost outer\n HostName outer.example\n" +
		"Host last.example\n ProxyJump ignored.example\n", "web"},
	"jump for all":                           {"Host gate.example\n ProxyJump none\nHost *\n ProxyJump gate.example\n", "web.example gate.example"},
	"jump none":                              {"Host web.example\n ProxyJump none\nHost *\n ProxyJump gate.example\n", "web.example"},
	"jump none, then another":                {"ProxyJump none\nProxyJump gate.example\n", "web.example"},
	"command none":                           {"ProxyCommand none\nProxyJump gate.example\n", "web.example"},
	"jump as URL":                            {"Host web.example\nProxyJump ssh://me@gate.example:24\n", "web.example"},
	"match host":                             {"Match host web.example,db.*,!db.x\n Port 24\nHost web\n HostName web.example\nMatch host WEB.example\n User late\n", "web web.example db.y db.x"},
	"match after HostName":                   {"Host web\n HostName web.example\nMatch host web.example\n Port 24\nMatch host web\n Port 25\n", "web"},
	"match original":                         {"Host *\n HostName x.example\nMatch originalhost WEB user bob\n Port 24\nMatch !originalhost web\n Port 25\n", "web bob@web db"},
	"match local user":                       {"Match localuser LOGIN,other\n Port 24\n", "a.example"},
	"match not local user":                   {"Match !localuser LOGIN\n Port 24\n", "a.example"},
	"match user set before":                  {"Host a.example\n User bob\nMatch user bob\n Port 24\n", "a.example b.example bob@b.example"},
	"match all":                              {"Host nope\n Port 1\nMatch all\n Port 24\n", "a.example"},
	"match with equals":                      {"Match host=\"a.example\" user=bob # bob\n Port 24\n", "bob@a.example a.example"},
	"match final":                            {"Match final host web.example\n Port 24\n User late\nHost web\n HostName web.example\nMatch canonical all\n IdentityFile ~/c\n", "web"},
	"match final does not rename":            {"Host web\nMatch final\n HostName other.example\n Port 24\n", "a.example"},
	"final pass asks for the new name":       {"Host *.example\n Port 24\nMatch final host nope\nHost web\n HostName %h.example\n", "web"},
	"address in a token":                     {"Host web\n HostName 2001:DB8::1\n IdentityAgent ~/%h\n IdentityFile ~/%h\n", "web"},
	"final for an unchanged name":            {"Match final host a.example\n IdentityFile ~/x\n User late\n Port 22\n", "a.example"},
	"HostName repeats":                       {"Host *\n HostName %h\n", "a.example web"},
	"final that is asked for in vain":        {"Match host nope.example final\n Port 1\nMatch canonical\n Port 24\n", "a.example"},
	"exec behind a host that does not match": {"Match host nope.example exec \"false\"\n Port 1\n", "a.example"},
	"include":                                {"Host web\n Include DIR/inc/a\nHost *\n Port 24\n HostName %h.example\n", "web db"},
	"include with patterns":                  {"Include DIR/inc/* \"DIR/inc/missing\"\nHost *\n HostName %h.example\n", "web db"},
	"include ends with its file":             {"Include DIR/inc/b\nPort 24\n", "a.example"},
	"ignored keywords":                       {"IgnoreUnknown Use*,foo\nUseKeychain yes\nFOO bar\nPort 24\n", "a.example"},
	"address behind an alias":                {"Host web\n HostName 2001:DB8:0::1\nHost db\n HostName FE80::1%%eth0\n", "web db"},
}

func TestBothWaysOfReadingSSHConfigAgree(t *testing.T) {
	t.Parallel()
	for name, tc := range bothWays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := resolver(t, "", "")
			dir := filepath.Dir(own.SSHConfig)
			write(t, dir, "inc/a", "User from_a\nHost db\n User db_in_a\n")
			write(t, dir, "inc/b", "Host web\n Port 77\nMatch host nobody\n User x\n")
			write(t, dir, "inc/.hidden", "Port 66\n")
			asked := withSSH(t, own)
			own.Home, own.User, own.UID = asked.Home, asked.User, asked.UID
			text := strings.NewReplacer("DIR", dir, "LOGIN", asked.User).Replace(tc.config)
			require.NoError(t, os.WriteFile(own.SSHConfig, []byte(text), 0o600))
			for _, arg := range strings.Fields(tc.hosts) {
				want, wantErr := asked.ResolveOne(context.Background(), arg)
				got, gotErr := own.ResolveOne(context.Background(), arg)
				require.NoError(t, wantErr, arg)
				require.NoError(t, gotErr, arg)
				assert.Equal(t, want, got, arg)
			}
		})
	}
}

// Where no file can configure anything, ssh is not started to say so; it would
// have said the same.
func TestWithoutFilesSSHIsNotAsked(t *testing.T) {
	t.Parallel()
	asked := withSSH(t, resolver(t, "", ""))
	require.NoError(t, os.WriteFile(asked.SSHConfig, nil, 0o600))
	without := *asked
	without.SSHConfig = "none"
	without.Run = func(context.Context, string, ...string) ([]byte, error) {
		t.Error("ssh was started")
		return nil, os.ErrInvalid
	}
	for _, arg := range []string{"a.example", "203.0.113.1", "2001:DB8:0::1", "bob@a.example:24"} {
		want, err := asked.ResolveOne(t.Context(), arg)
		require.NoError(t, err)
		got, err := without.ResolveOne(t.Context(), arg)
		require.NoError(t, err)
		assert.Equal(t, want, got, arg)
	}
}
