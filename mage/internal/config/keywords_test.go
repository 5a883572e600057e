package config

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manual is every keyword that ssh_config(5) of OpenSSH 10.2 describes.
const manual = `Host Match AddKeysToAgent AddressFamily BatchMode BindAddress BindInterface CanonicalDomains
	CanonicalizeFallbackLocal CanonicalizeHostname CanonicalizeMaxDots CanonicalizePermittedCNAMEs CASignatureAlgorithms
	CertificateFile ChannelTimeout CheckHostIP Ciphers ClearAllForwardings Compression ConnectionAttempts ConnectTimeout
	ControlMaster ControlPath ControlPersist DynamicForward EnableEscapeCommandline EnableSSHKeysign EscapeChar
	ExitOnForwardFailure FingerprintHash ForkAfterAuthentication ForwardAgent ForwardX11 ForwardX11Timeout
	ForwardX11Trusted GatewayPorts GlobalKnownHostsFile GSSAPIAuthentication GSSAPIDelegateCredentials HashKnownHosts
	HostbasedAcceptedAlgorithms HostbasedAuthentication HostKeyAlgorithms HostKeyAlias HostName IdentitiesOnly
	IdentityAgent IdentityFile IgnoreUnknown Include IPQoS KbdInteractiveAuthentication KbdInteractiveDevices
	KexAlgorithms KnownHostsCommand LocalCommand LocalForward LogLevel LogVerbose MACs NoHostAuthenticationForLocalhost
	NumberOfPasswordPrompts ObscureKeystrokeTiming PasswordAuthentication PermitLocalCommand PermitRemoteOpen
	PKCS11Provider Port PreferredAuthentications ProxyCommand ProxyJump ProxyUseFdpass PubkeyAcceptedAlgorithms
	PubkeyAuthentication RefuseConnection RekeyLimit RemoteCommand RemoteForward RequestTTY RequiredRSASize
	RevokedHostKeys SecurityKeyProvider SendEnv ServerAliveCountMax ServerAliveInterval SessionType SetEnv StdinNull
	StreamLocalBindMask StreamLocalBindUnlink StrictHostKeyChecking SyslogFacility Tag TCPKeepAlive Tunnel TunnelDevice
	UpdateHostKeys User UserKnownHostsFile VerifyHostKeyDNS VersionAddendum VisualHostKey WarnWeakCrypto XAuthLocation`

// Keeps away: a keyword that decides a login and is ignored in silence.
func TestEveryKeywordIsClassified(t *testing.T) {
	t.Parallel()
	for name := range strings.FieldsSeq(manual) {
		k, ok := keywords[strings.ToLower(name)]
		if assert.True(t, ok, "nobody decided what becomes of %s", name) {
			assert.NotEqual(t, unknown, k.does, name)
			assert.Equal(t, k.does == refused, k.why != "", "%s: a refusal says what to do", name)
		}
	}
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("no ssh program is installed")
	}
	out, err := runSSH(t.Context(), ssh, "-G", "-F", "none", "x")
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		assert.Contains(t, keywords, strings.ToLower(name), "of the ssh on this machine")
	}
}

// One line for each keyword that a login is made with or refused for; that every
// such keyword has one is checked, too.
var keywordCases = map[string]struct {
	value string
	want  func(*remote.Target) // what differs from a target without any setting; nil where another test looks
	fails string               // what the refusal says
}{
	"HostName": {}, "User": {}, "Port": {}, "IdentityFile": {}, "IdentityAgent": {}, "CertificateFile": {},
	"UserKnownHostsFile": {}, "GlobalKnownHostsFile": {}, "ProxyJump": {},
	"ChallengeResponseAuthentication": {}, "PubkeyAcceptedKeyTypes": {}, // old names of others

	"IdentitiesOnly":           {"yes", func(t *remote.Target) { t.IdentitiesOnly = true }, ""},
	"HostKeyAlias":             {"Prod", func(t *remote.Target) { t.HostKeyAlias = "prod" }, ""},
	"AddressFamily":            {"inet6", func(t *remote.Target) { t.Options.AddressFamily = "inet6" }, ""},
	"BindAddress":              {"127.0.0.2", func(t *remote.Target) { t.Options.BindAddress = "127.0.0.2" }, ""},
	"BindInterface":            {"lo", func(t *remote.Target) { t.Options.BindInterface = "lo" }, ""},
	"RevokedHostKeys":          {"/x/revoked", func(t *remote.Target) { t.Options.RevokedHostKeys = "/x/revoked" }, ""},
	"ConnectTimeout":           {"7", func(t *remote.Target) { t.Options.ConnectTimeout = 7 * time.Second }, ""},
	"ConnectionAttempts":       {"3", func(t *remote.Target) { t.Options.ConnectionAttempts = 3 }, ""},
	"RequiredRSASize":          {"3072", func(t *remote.Target) { t.Options.RequiredRSASize = 3072 }, ""},
	"NumberOfPasswordPrompts":  {"1", func(t *remote.Target) { t.Options.PasswordPrompts = 1 }, ""},
	"CheckHostIP":              {"yes", func(t *remote.Target) { t.Options.CheckHostIP = true }, ""},
	"HashKnownHosts":           {"yes", func(t *remote.Target) { t.Options.HashKnownHosts = true }, ""},
	"BatchMode":                {"yes", func(t *remote.Target) { t.Options.BatchMode = true }, ""},
	"KexAlgorithms":            {"curve25519-sha256", func(t *remote.Target) { t.Options.KexAlgorithms = []string{"curve25519-sha256"} }, ""},
	"Ciphers":                  {"aes256-ctr,aes128-ctr", func(t *remote.Target) { t.Options.Ciphers = []string{"aes256-ctr", "aes128-ctr"} }, ""},
	"MACs":                     {"hmac-sha2-512", func(t *remote.Target) { t.Options.MACs = []string{"hmac-sha2-512"} }, ""},
	"HostKeyAlgorithms":        {"ssh-ed25519", func(t *remote.Target) { t.Options.HostKeyAlgorithms = []string{"ssh-ed25519"} }, ""},
	"PubkeyAcceptedAlgorithms": {"rsa-sha2-512", func(t *remote.Target) { t.Options.PubkeyAlgorithms = []string{"rsa-sha2-512"} }, ""},
	"CASignatureAlgorithms":    {"ssh-ed25519", func(t *remote.Target) { t.Options.CASignatures = []string{"ssh-ed25519"} }, ""},
	"PreferredAuthentications": {"password,keyboard-interactive,publickey",
		func(t *remote.Target) { t.Options.Methods = []string{"keyboard-interactive", "publickey"} }, ""},
	"PubkeyAuthentication":         {"no", func(t *remote.Target) { t.Options.Methods = []string{"keyboard-interactive"} }, ""},
	"KbdInteractiveAuthentication": {"no", func(t *remote.Target) { t.Options.Methods = []string{"publickey"} }, ""},
	"StrictHostKeyChecking":        {"accept-new", func(t *remote.Target) { t.Options.StrictHostKeyCheck = "accept-new" }, ""},

	"ProxyCommand":      {"nc %h %p", nil, `ProxyCommand "nc %h %p" is not supported`},
	"KnownHostsCommand": {"/bin/echo %H", nil, `KnownHostsCommand "/bin/echo %H" is not supported`},
	"RefuseConnection":  {},

	"PKCS11Provider":                   {"/x.so", toldAt("PKCS11Provider /x.so"), ""},
	"SecurityKeyProvider":              {"/y.so", toldAt("SecurityKeyProvider /y.so"), ""},
	"GSSAPIAuthentication":             {"yes", toldAt("GSSAPIAuthentication yes"), ""},
	"HostbasedAuthentication":          {"yes", toldAt("HostbasedAuthentication yes"), ""},
	"KbdInteractiveDevices":            {"pam", toldAt("KbdInteractiveDevices pam"), ""},
	"ControlPath":                      {"/x/%h", toldAt("ControlPath /x/a.example"), ""},
	"GSSAPIKeyExchange":                {}, // a patch of Debian's and Red Hat's
	"UseKeychain":                      {}, // Apple's
	"SmartcardDevice":                  {}, // an old name
	"VerifyHostKeyDNS":                 {"yes", toldOfHostKeys("VerifyHostKeyDNS true"), ""},
	"NoHostAuthenticationForLocalhost": {"yes", toldOfHostKeys("NoHostAuthenticationForLocalhost yes"), ""},
}

func toldAt(setting string) func(*remote.Target) {
	return func(t *remote.Target) { t.Options.NotFollowed = []string{setting} }
}

func toldOfHostKeys(setting string) func(*remote.Target) {
	return func(t *remote.Target) { t.Options.NotFollowedHostKeys = []string{setting} }
}

func TestKeywordsThatDecideALogin(t *testing.T) {
	t.Parallel()
	plain := one(t, resolver(t, "", "# nothing"), "a.example")
	for _, k := range keywords {
		if k.does == bySSH || k.does == noPartOfALogin {
			continue
		}
		tc, ok := keywordCases[k.name]
		if !assert.True(t, ok, "no case for %s", k.name) || tc.value == "" {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			h, err := resolver(t, "", k.name+" "+tc.value+"\n").ResolveOne(t.Context(), "a.example")
			if tc.fails != "" {
				require.ErrorContains(t, err, tc.fails)
				assert.NotEmpty(t, hint(t, err))
				return
			}
			if err != nil && strings.Contains(err.Error(), "Bad configuration option") {
				t.Skip("the ssh of this machine does not know it")
			}
			require.NoError(t, err)
			want := plain.Target
			tc.want(&want)
			assert.False(t, reflect.DeepEqual(plain.Target, want), "the case must differ")
			assert.Equal(t, want, h.Target)
		})
	}
}

// Keeps away: values that ssh writes for "not set" taken for settings.
func TestKeywordsSwitchedOff(t *testing.T) {
	t.Parallel()
	plain := one(t, resolver(t, "", "# nothing"), "a.example")
	h := one(t, resolver(t, "", "ProxyCommand none\nKnownHostsCommand none\nRevokedHostKeys none\nControlPath none\nPKCS11Provider none\n"+
		"ConnectTimeout none\nAddressFamily any\nStrictHostKeyChecking ask\nGSSAPIAuthentication no\nVerifyHostKeyDNS no\n"), "a.example")
	assert.Equal(t, plain.Target, h.Target)
}

func TestStrictHostKeyChecking(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]remote.Options{
		"yes": {StrictHostKeyCheck: "yes"},
		"ask": {},
		"no":  {NotFollowedHostKeys: []string{"StrictHostKeyChecking no"}},
		"off": {NotFollowedHostKeys: []string{"StrictHostKeyChecking no"}},
	} {
		assert.Equal(t, want, one(t, resolver(t, "", "StrictHostKeyChecking "+value+"\n"), "a.example").Options, value)
	}
}

func TestNoMethodIsLeft(t *testing.T) {
	t.Parallel()
	for _, config := range []string{"PreferredAuthentications password\n", "PubkeyAuthentication no\nKbdInteractiveAuthentication no\n"} {
		_, err := resolver(t, "", config).ResolveOne(t.Context(), "a.example")
		require.ErrorContains(t, err, "leave neither publickey nor keyboard-interactive")
		assert.Contains(t, hint(t, err), "PubkeyAuthentication yes")
	}
}

// A keyword of tomorrow's ssh counts once somebody sets it.
func TestUnknownKeyword(t *testing.T) {
	t.Parallel()
	const usual = "host x\nhostname a.example\nuser me\nport 22\nrefuselogins no\n"
	script := "case \" $* \" in *' -F none '*) printf '" + strings.ReplaceAll(usual, "\n", `\n`) + "' ;; *) printf '" +
		strings.ReplaceAll(strings.Replace(usual, "logins no", "logins yes", 1), "\n", `\n`) + "' ;; esac\n"
	_, err := sshScript(t, script).ResolveOne(t.Context(), "a.example")
	require.ErrorContains(t, err, "refuselogins yes: this keyword is newer than vps")
	assert.Contains(t, hint(t, err), "update vps")

	same := "printf '" + strings.ReplaceAll(usual, "\n", `\n`) + "'\n"
	_, err = sshScript(t, same).ResolveOne(t.Context(), "a.example")
	assert.NoError(t, err, "as long as nobody sets it, it changes nothing")
}

// The name's settings win over the address's, keyword by keyword.
func TestOptionsOfNameAndAddress(t *testing.T) {
	t.Parallel()
	h := one(t, resolver(t, "hosts:\n  web: {address: 203.0.113.10}\n",
		"Host web\n ConnectTimeout 3\nHost 203.0.113.10\n ConnectTimeout 9\n BatchMode yes\n"), "web")
	assert.Equal(t, remote.Options{ConnectTimeout: 3 * time.Second, BatchMode: true}, h.Options)
}
