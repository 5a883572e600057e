package config

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const threeHosts = `hosts:
  web-1: {address: 203.0.113.10, tags: [prod, web], user: admin, port: 2201, system: arm, flake: vps-arm, hostKey: ` + keyA + `}
  web-2: {address: 203.0.113.11, tags: [web]}
  db-1: {address: '2001:db8::7', tags: [prod]}
`

func names(hosts []Host) []string {
	list := []string{}
	for _, h := range hosts {
		list = append(list, h.Name)
	}
	return list
}

func TestResolveSelects(t *testing.T) {
	t.Parallel()
	r := resolver(t, threeHosts, "Host alias\n HostName 203.0.113.99\n")
	for arg, want := range map[string][]string{
		"web-1":                            {"web-1"},
		"all":                              {"web-1", "web-2", "db-1"},
		"@web":                             {"web-1", "web-2"},
		"@prod":                            {"web-1", "db-1"},
		"db-1,@web":                        {"db-1", "web-1", "web-2"},
		" db-1 , web-1 ":                   {"db-1", "web-1"},
		"@web,@prod,all,web-2":             {"web-1", "web-2", "db-1"},
		"alias,web-2":                      {"alias", "web-2"},
		"203.0.113.11:2222,web-2":          {"web-2"},
		"203.0.113.11,x.example,web-2":     {"web-2", "x.example"},
		"[2001:DB8:0::7],db-1":             {"db-1"},
		"127.0.0.1:2201,127.0.0.1:2202":    {"127.0.0.1:2201", "127.0.0.1:2202"},
		"root@x.example,admin@X.example":   {"x.example"},
		"me@web-1,web-1":                   {"web-1"},
		"[2001:db8::9]:24,2001:db8::8":     {"[2001:db8::9]:24", "2001:db8::8"},
		"localhost,fe80::1%eth0,web.local": {"localhost", "fe80::1%eth0", "web.local"},
	} {
		hosts, err := r.Resolve(context.Background(), arg)
		require.NoError(t, err, arg)
		assert.Equal(t, want, names(hosts), arg)
	}
}

func TestResolvePrecedence(t *testing.T) {
	t.Parallel()
	const vps = `hosts:
  web: {address: 203.0.113.10}
  full: {address: 203.0.113.11, port: 2201, user: admin, identity: keys/%n, system: arm, flake: vps-arm, tags: [a], hostKey: ` + keyA + `}
  alias: {tags: [b]}
  dotted.example:
`
	const ssh = `
Host web
  HostName other.example
  User from_name
  IdentitiesOnly yes
Host 203.0.113.10
  User from_address
  Port 22
  IdentityFile ~/address
  ProxyJump gate.example
Host alias
  HostName 203.0.113.12
Host full
  HostName wrong.example
  IdentityFile ~/wrong
  ProxyJump none
Host 203.0.113.11
  ProxyJump gate.example
`
	r := resolver(t, vps, ssh)
	web := one(t, r, "web")
	assert.Equal(t, "203.0.113.10", web.Address, "vps.yaml wins over HostName")
	assert.Equal(t, "from_name", web.User, "the name wins over the address")
	assert.True(t, web.IdentitiesOnly)
	assert.Equal(t, 22, web.Port, "the address fills what the name leaves")
	assert.True(t, web.PortDeclared)
	assert.Equal(t, []string{r.Home + "/address"}, web.Identities)
	assert.Len(t, web.Jumps, 1)
	assert.Equal(t, "vps.yaml:2", web.Origin)
	assert.True(t, web.Listed)

	full := one(t, r, "full")
	assert.Equal(t, "203.0.113.11:2201", full.Endpoint())
	assert.Equal(t, "admin", full.User)
	assert.Equal(t, []string{r.projectDir() + "/keys/full"}, full.Identities, "below the project, in place of ssh_config's")
	assert.Equal(t, []any{"arm", "vps-arm", []string{"a"}, keyA}, []any{full.System, full.Flake, full.Tags, full.HostKey})
	assert.Empty(t, full.Jumps, "ProxyJump none of the name is an answer")

	assert.Equal(t, "203.0.113.12", one(t, r, "alias").Address)
	assert.Equal(t, "dotted.example", one(t, r, "dotted.example").Address)

	over := one(t, r, "me@full:24")
	assert.Equal(t, []any{"me", 24, true, "full", keyA}, []any{over.User, over.Port, over.Listed, over.Name, over.HostKey})
}

func TestDefaultsApplyOnlyWhereSSHConfigIsSilent(t *testing.T) {
	t.Parallel()
	const ssh = "Host loud\n HostName l.example\n Port 22\n User LOGIN\n IdentityFile ~/.ssh/id_ed25519\nHost same\n HostName same\n"
	r := resolver(t, "", ssh)
	silent := one(t, r, "x.example")
	assert.Equal(t, []any{2222, false, "root"}, []any{silent.Port, silent.PortDeclared, silent.User})
	assert.Nil(t, silent.Identities, "ssh's own list is not a configured one")
	assert.Equal(t, "argument", silent.Origin)
	loud := one(t, r, "loud")
	assert.Equal(t, []any{22, true, "LOGIN"}, []any{loud.Port, loud.PortDeclared, loud.User})
	assert.Equal(t, []string{r.Home + "/.ssh/id_ed25519"}, loud.Identities)
	assert.Equal(t, "ssh_config", loud.Origin)
	assert.Equal(t, "same", one(t, r, "same").Address, "a HostName that repeats the alias makes it known")
	assert.True(t, one(t, r, "x.example:2222").PortDeclared)
}

func TestJumpsKeepSSHDefaults(t *testing.T) {
	t.Parallel()
	r := resolver(t, "", "Host x.example\n ProxyJump gate.example\n")
	jump := one(t, r, "x.example").Jumps[0]
	assert.Equal(t, []any{"gate.example", 22, r.User}, []any{jump.Address, jump.Port, jump.User})
}

func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	const ssh = `
Host gate
  HostName gate.example
Host command
  HostName c.example
  ProxyCommand nc %h %p
Host loop
  HostName l.example
  ProxyJump loop2
Host loop2
  HostName l2.example
  ProxyJump loop
Host self
  HostName s.example
  ProxyJump self
Host badkey
  HostName b.example
  IdentityFile ~/%Z
Host badenv
  HostName b.example
  IdentityFile ${UNSET_BY_ALL}/k
Host baduser
  HostName b.example
  User -oProxyCommand=x
Host badname
  HostName -oProxyCommand=x
Host badagent
  HostName b.example
  IdentityAgent $UNSET_BY_ALL
`
	r := resolver(t, threeHosts+"  nowhere: {tags: [lost]}\n", ssh)
	{
		for arg, tc := range map[string]struct{ want, hint string }{
			"":                            {"is empty", "name a host"},
			" ":                           {"is empty", "name a host"},
			"a.b,,c.d":                    {"empty item", "a,b,c"},
			"-x":                          {`host "-x": looks like a flag`, "after the host, as -x=VALUE"},
			"web-1,--force=1":             {`host "--force=1": looks like a flag`, "-force=1"},
			"-oProxyCommand=touch /tmp/x": {"looks like a flag", "after the host"},
			"web-3":                       {`unknown host "web-3"`, `did you mean "web-1"?`},
			"gaet":                        {"known: web-1, web-2, db-1, nowhere, gate, command", `did you mean "gate"?`},
			"root@zzzzzzz":                {`unknown host "zzzzzzz"`, "give it a HostName in ssh_config"},
			"@prd":                        {"no host has this tag (tags: prod, web, lost)", `"@prod"`},
			"@zzzzzz":                     {"no host has this tag", "give a host"},
			"a b.example":                 {"neither a host name nor an IP address", "[user@]address[:port]"},
			"a;b.example":                 {"neither a host name nor an IP address", "[user@]address[:port]"},
			"$(x).example":                {"neither a host name nor an IP address", "[user@]address[:port]"},
			"@@":                          {"no host has this tag", "give a host"},
			"-l@x.example":                {"looks like a flag", "after the host"},
			"a@-x.example":                {"neither a host name", "[user@]address[:port]"},
			"x.example:0":                 {`"0" is not a port`, "[user@]address[:port]"},
			"x.example:70000":             {`"70000" is not a port`, "[user@]address[:port]"},
			"x.example:":                  {`"" is not a port`, "[user@]address[:port]"},
			"x.example:22:33":             {"with a port write [address]:port", "[user@]address[:port]"},
			"[x.example]:22":              {"brackets hold an IPv6 address", "[user@]address[:port]"},
			"[::1]22":                     {"only :port can follow", "[user@]address[:port]"},
			"[::1":                        {"brackets hold an IPv6 address", "[user@]address[:port]"},
			"ssh://x.example":             {"is a URL", "[user@]address[:port]"},
			"203.0.113.256":               {"is not an IPv4 address", "correct the address"},
			"203.0.113":                   {"is not an IPv4 address", "correct the address"},
			"nowhere":                     {`vps.yaml:5: "nowhere" has no address`, "correct"},
			"command":                     {"ProxyCommand \"nc %h %p\" is not supported", "ProxyJump"},
			"loop":                        {"loop", "ssh_config"},
			"self":                        {"self", "ssh_config"},
			"badkey":                      {"the token %Z is not supported", "ssh_config"},
			"badenv":                      {"UNSET_BY_ALL", "ssh_config"},
			"baduser":                     {`"-oProxyCommand=x" is not a user name`, "ssh_config"},
			"badname":                     {`"-oproxycommand=x" is neither a host name`, "ssh_config"},
			"badagent":                    {"UNSET_BY_ALL", "ssh_config"},
		} {
			t.Run(arg, func(t *testing.T) {
				t.Parallel()
				_, err := r.Resolve(context.Background(), arg)
				require.ErrorContains(t, err, tc.want)
				assert.Contains(t, hint(t, err), tc.hint)
			})
		}
	}
}

func TestResolveReportsEveryItem(t *testing.T) {
	t.Parallel()
	r := resolver(t, threeHosts, "")
	_, err := r.Resolve(context.Background(), "nope,@none,web-1")
	assert.ErrorContains(t, err, `"@none"`)
	assert.NotContains(t, err.Error(), "nope", "bad arguments are told before anything is asked")
	_, err = r.Resolve(context.Background(), "nope,web-1,nada")
	assert.ErrorContains(t, err, `"nope"`)
	assert.ErrorContains(t, err, `"nada"`)
}

func TestResolveOneRefusesGroups(t *testing.T) {
	t.Parallel()
	r := resolver(t, "hosts:\n  a: {address: a.example, tags: [x]}\n", "")
	for _, arg := range []string{"all", "@x", "a,a"} {
		_, err := r.ResolveOne(context.Background(), arg)
		assert.ErrorContains(t, err, "names a group", arg)
	}
	assert.Equal(t, "a", one(t, r, "a").Name)
}

func TestResolveGroupsWithoutHosts(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"all", "@prod"} {
		_, err := resolver(t, "", "").Resolve(context.Background(), arg)
		assert.ErrorContains(t, err, "vps.yaml lists no hosts", arg)
	}
}

func TestSameAddressBehindOtherJumpIsAnotherMachine(t *testing.T) {
	t.Parallel()
	r := resolver(t, "", "Host a\n HostName 10.0.0.1\n ProxyJump x.example\nHost b\n HostName 10.0.0.1\n ProxyJump y.example\nHost c\n HostName 10.0.0.1\n ProxyJump y.example\n")
	hosts, err := r.Resolve(context.Background(), "a,b,c")
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, names(hosts))
}

// Keeps away: a listed host that an update of all leaves out without a word.
func TestTwoListedNamesForOneMachine(t *testing.T) {
	t.Parallel()
	r := resolver(t, "hosts:\n  a: {address: x.example}\n  b: {address: x.example, port: 2222}\n", "")
	_, err := r.Resolve(context.Background(), "all")
	assert.ErrorContains(t, err, `"a" and "b" in vps.yaml are the same machine, x.example:2222`)
	assert.Equal(t, "b", one(t, r, "b").Name)
}

func TestResolveStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := resolver(t, threeHosts, "").Resolve(ctx, "all")
	assert.ErrorIs(t, err, context.Canceled)
}

func TestClosest(t *testing.T) {
	t.Parallel()
	known := []string{"web-1", "database", "x"}
	for word, want := range map[string]string{
		"wbe-1": "web-1", "WEB-1": "web-1", "web1": "web-1", "databsae": "database", "detabese": "database",
		"y": "x", "mail": "", "": "x",
	} {
		assert.Equal(t, want, closest(word, known), word)
	}
}
