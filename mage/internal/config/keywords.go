package config

import (
	"fmt"
	"github.com/dagadbm/vps/mage/internal/next"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/remote"
)

// treatment is what becomes of a keyword of ssh_config.
type treatment int

const (
	unknown        treatment = iota
	bySSH                    // ssh itself has decided it, or what it decides is in other keywords of the answer
	honoured                 // read, and done as ssh does
	refused                  // an error, because a login would not be the one that ssh makes
	toldLogin                // not done, which can only keep a login from succeeding: told when it does
	toldHostKey              // not done, which can only keep a host key from being accepted: told when it is not
	noPartOfALogin           // forwarding, terminals, logs, what happens to a session afterwards
)

// keyword says what becomes of one of ssh_config, and how its values are read.
type keyword struct {
	name string // as the manual writes it
	does treatment
	read func(o *remote.Options, values []string) error // nil if read elsewhere
	why  string                                         // of a refusal: what to do instead
}

// keywords is every keyword of ssh_config(5) as of OpenSSH 10.2, of the older
// releases whose answers are still met, and of Debian's, Red Hat's and Apple's
// patches, by its lower-case name.
var keywords = tableOf([]keyword{
	// Read into settings and [remote.Target].
	{name: "HostName", does: honoured},
	{name: "User", does: honoured},
	{name: "Port", does: honoured},
	{name: "IdentityFile", does: honoured},
	{name: "IdentitiesOnly", does: honoured},
	{name: "IdentityAgent", does: honoured},
	{name: "CertificateFile", does: honoured},
	{name: "HostKeyAlias", does: honoured},
	{name: "UserKnownHostsFile", does: honoured},
	{name: "GlobalKnownHostsFile", does: honoured},
	{name: "ProxyJump", does: honoured},

	// Read into [remote.Options].
	{name: "AddressFamily", does: honoured, read: text(func(o *remote.Options) *string { return &o.AddressFamily }, "any")},
	{name: "BindAddress", does: honoured, read: text(func(o *remote.Options) *string { return &o.BindAddress })},
	{name: "BindInterface", does: honoured, read: text(func(o *remote.Options) *string { return &o.BindInterface })},
	{name: "RevokedHostKeys", does: honoured, read: text(func(o *remote.Options) *string { return &o.RevokedHostKeys })},
	{name: "ConnectTimeout", does: honoured, read: readTimeout},
	{name: "ConnectionAttempts", does: honoured, read: number(func(o *remote.Options) *int { return &o.ConnectionAttempts })},
	{name: "RequiredRSASize", does: honoured, read: number(func(o *remote.Options) *int { return &o.RequiredRSASize })},
	{name: "NumberOfPasswordPrompts", does: honoured, read: number(func(o *remote.Options) *int { return &o.PasswordPrompts })},
	{name: "CheckHostIP", does: honoured, read: flag(func(o *remote.Options) *bool { return &o.CheckHostIP })},
	{name: "HashKnownHosts", does: honoured, read: flag(func(o *remote.Options) *bool { return &o.HashKnownHosts })},
	{name: "BatchMode", does: honoured, read: flag(func(o *remote.Options) *bool { return &o.BatchMode })},
	{name: "KexAlgorithms", does: honoured, read: list(func(o *remote.Options) *[]string { return &o.KexAlgorithms })},
	{name: "Ciphers", does: honoured, read: list(func(o *remote.Options) *[]string { return &o.Ciphers })},
	{name: "MACs", does: honoured, read: list(func(o *remote.Options) *[]string { return &o.MACs })},
	{name: "HostKeyAlgorithms", does: honoured, read: list(func(o *remote.Options) *[]string { return &o.HostKeyAlgorithms })},
	{name: "PubkeyAcceptedAlgorithms", does: honoured, read: list(func(o *remote.Options) *[]string { return &o.PubkeyAlgorithms })},
	{name: "PubkeyAcceptedKeyTypes", does: honoured, read: list(func(o *remote.Options) *[]string { return &o.PubkeyAlgorithms })},
	{name: "CASignatureAlgorithms", does: honoured, read: list(func(o *remote.Options) *[]string { return &o.CASignatures })},
	{name: "PreferredAuthentications", does: honoured}, // with the next two: readMethods
	{name: "PubkeyAuthentication", does: honoured},
	{name: "KbdInteractiveAuthentication", does: honoured},
	{name: "ChallengeResponseAuthentication", does: honoured},
	{name: "StrictHostKeyChecking", does: honoured, read: readStrict},

	{name: "ProxyCommand", does: refused, why: "no program is run to connect: use ProxyJump instead, or set ProxyCommand none for this host"},
	{name: "KnownHostsCommand", does: refused, why: "no program is run to connect: set KnownHostsCommand none for this host, and pin its key as hostKey in vps.yaml or known_hosts"},
	{name: "RefuseConnection", does: refused, why: "remove it for this host, or choose another host"},

	{name: "PKCS11Provider", does: toldLogin},
	{name: "SmartcardDevice", does: toldLogin},
	{name: "SecurityKeyProvider", does: toldLogin},
	{name: "UseKeychain", does: toldLogin},
	{name: "GSSAPIAuthentication", does: toldLogin},
	{name: "GSSAPIKeyExchange", does: toldLogin},
	{name: "HostbasedAuthentication", does: toldLogin},
	{name: "KbdInteractiveDevices", does: toldLogin},
	{name: "ControlPath", does: toldLogin},
	{name: "VerifyHostKeyDNS", does: toldHostKey},
	{name: "NoHostAuthenticationForLocalhost", does: toldHostKey},
}, bySSH, `Host Match Include IgnoreUnknown Tag CanonicalDomains CanonicalizeFallbackLocal CanonicalizeHostname
	CanonicalizeMaxDots CanonicalizePermittedCNAMEs`,
	// PasswordAuthentication is among these because passwords are never sent.
	noPartOfALogin, `AddKeysToAgent ChannelTimeout ClearAllForwardings Compression CompressionLevel ControlMaster ControlPersist
	DynamicForward EnableEscapeCommandline EnableSSHKeysign EscapeChar ExitOnForwardFailure FingerprintHash
	ForkAfterAuthentication ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted GatewayPorts
	GSSAPIClientIdentity GSSAPIDelegateCredentials GSSAPIKexAlgorithms GSSAPIRenewalForcesRekey GSSAPIServerIdentity
	GSSAPITrustDns HostbasedAcceptedAlgorithms HostbasedKeyTypes IPQoS KeepAlive LocalCommand LocalForward LogLevel
	LogVerbose ObscureKeystrokeTiming PasswordAuthentication PermitLocalCommand PermitRemoteOpen Protocol ProtocolKeepAlives
	ProxyUseFdpass RekeyLimit RemoteCommand RemoteForward RequestTTY RhostsRSAAuthentication RSAAuthentication SendEnv
	ServerAliveCountMax ServerAliveInterval SessionType SetEnv SetupTimeOut StdinNull StreamLocalBindMask
	StreamLocalBindUnlink SyslogFacility TCPKeepAlive Tunnel TunnelDevice UpdateHostKeys UsePrivilegedPort UseRoaming
	VersionAddendum VisualHostKey WarnWeakCrypto XAuthLocation`)

// tableOf puts keywords into a table, and after them, of each treatment, the names
// that need no more than that.
func tableOf(list []keyword, more ...any) map[string]keyword {
	table := map[string]keyword{}
	for i := 0; i < len(more); i += 2 {
		for name := range strings.FieldsSeq(more[i+1].(string)) {
			list = append(list, keyword{name: name, does: more[i].(treatment)})
		}
	}
	for _, k := range list {
		table[strings.ToLower(k.name)] = k
	}
	return table
}

// refuseKeywords refuses what cannot be followed, by name: values are those that
// some file set. A keyword that is not in the table is one of a newer ssh, and what
// it decides is not known.
func refuseKeywords(host string, values map[string][]string) error {
	for _, name := range sorted(values) {
		k, known := keywords[name]
		value := strings.Join(values[name], " ")
		switch {
		case name == "host", k.does == refused && isOff(value):
		case !known:
			return &SSHConfigError{
				Host:    host,
				Problem: fmt.Sprintf("%s %s: this keyword is newer than vps, which cannot tell what it does to a login", name, abbreviate(value)),
				Next:    next.Words("update vps, or remove that line for this host"),
			}
		case k.does == refused:
			return &SSHConfigError{
				Host:    host,
				Problem: fmt.Sprintf("%s %q is not supported", k.name, abbreviate(value)),
				Next:    next.Words(k.why),
			}
		}
	}
	return nil
}

// readOptions reads what the files set into o.
func readOptions(o *remote.Options, host string, values map[string][]string) error {
	for _, name := range sorted(values) {
		k, value := keywords[name], strings.Join(values[name], " ")
		switch {
		case k.read != nil:
			if err := k.read(o, values[name]); err != nil {
				return &SSHConfigError{Host: host, Problem: fmt.Sprintf("%s %s: %v", k.name, abbreviate(value), err), Err: err}
			}
		case isOff(value):
		case k.does == toldLogin:
			o.NotFollowed = append(o.NotFollowed, k.name+" "+abbreviate(value))
		case k.does == toldHostKey:
			o.NotFollowedHostKeys = append(o.NotFollowedHostKeys, k.name+" "+abbreviate(value))
		}
	}
	return readMethods(o, host, values)
}

// readMethods puts the keywords together that decide by which methods to log in.
func readMethods(o *remote.Options, host string, values map[string][]string) error {
	methods := []string{"publickey", "keyboard-interactive"}
	if preferred := values["preferredauthentications"]; len(preferred) > 0 {
		methods = slices.DeleteFunc(strings.Split(preferred[0], ","), func(m string) bool { return !slices.Contains(methods, m) })
	}
	off := map[string][]string{
		"publickey":            {"pubkeyauthentication"},
		"keyboard-interactive": {"kbdinteractiveauthentication", "challengeresponseauthentication"},
	}
	left := slices.DeleteFunc(slices.Clone(methods), func(m string) bool {
		return slices.ContainsFunc(off[m], func(name string) bool { return len(values[name]) > 0 && isOff(values[name][0]) })
	})
	if len(left) == 0 {
		return &SSHConfigError{
			Host:    host,
			Problem: "PreferredAuthentications, PubkeyAuthentication and KbdInteractiveAuthentication leave neither publickey nor keyboard-interactive to log in with",
			Next:    next.Words("set PubkeyAuthentication yes and PreferredAuthentications publickey for this host: no other method is supported"),
		}
	}
	if len(left) < 2 || left[0] != "publickey" {
		o.Methods = left
	}
	return nil
}

// isOff says whether a value is how ssh writes "no".
func isOff(value string) bool {
	return slices.Contains([]string{"", "no", "false", "none", "internal"}, strings.ToLower(value))
}

func sorted(values map[string][]string) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

type reader = func(*remote.Options, []string) error

// text reads a word; "none", and what else means the default, is "".
func text(field func(*remote.Options) *string, byDefault ...string) reader {
	return func(o *remote.Options, values []string) error {
		if v := values[0]; !strings.EqualFold(v, remote.None) && !slices.Contains(byDefault, v) {
			*field(o) = v
		}
		return nil
	}
}

func number(field func(*remote.Options) *int) reader {
	return func(o *remote.Options, values []string) (err error) {
		*field(o), err = strconv.Atoi(values[0])
		return err
	}
}

func flag(field func(*remote.Options) *bool) reader {
	return func(o *remote.Options, values []string) error {
		*field(o) = !isOff(values[0])
		return nil
	}
}

func list(field func(*remote.Options) *[]string) reader {
	return func(o *remote.Options, values []string) error {
		*field(o) = strings.Split(values[0], ",")
		return nil
	}
}

func readTimeout(o *remote.Options, values []string) error {
	if strings.EqualFold(values[0], remote.None) {
		return nil
	}
	seconds, err := strconv.Atoi(values[0])
	o.ConnectTimeout = time.Duration(seconds) * time.Second
	return err
}

// readStrict never goes as far as "no", which lets a changed key pass: a key is
// always verified, and the person is told why this is not ssh's way.
func readStrict(o *remote.Options, values []string) error {
	switch value := strings.ToLower(values[0]); {
	case value == "accept-new":
		o.StrictHostKeyCheck = value
	case value == "yes" || value == "true":
		o.StrictHostKeyCheck = "yes"
	case isOff(value) || value == "off":
		o.NotFollowedHostKeys = append(o.NotFollowedHostKeys, "StrictHostKeyChecking no")
	}
	return nil
}
