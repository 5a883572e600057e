package config

import "strings"

// otherKeywords are the keywords of ssh_config, old and new, that do not change
// which machine is reached or as whom.
var otherKeywords = keywordSet(`
	AddKeysToAgent AddressFamily AFSTokenPassing BatchMode BindAddress BindInterface
	CanonicalDomains CanonicalizeFallbackLocal CanonicalizeMaxDots
	CanonicalizePermittedCNAMEs CASignatureAlgorithms CertificateFile
	ChallengeResponseAuthentication ChannelTimeout CheckHostIP Cipher Ciphers
	ClearAllForwardings Compression CompressionLevel ConnectionAttempts
	ConnectTimeout ControlMaster ControlPath ControlPersist DSAAuthentication
	DynamicForward EnableEscapeCommandline EnableSSHKeysign EscapeChar
	ExitOnForwardFailure FallBackToRsh FingerprintHash ForkAfterAuthentication
	ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted GatewayPorts
	GlobalKnownHostsFile2 GSSAPIAuthentication GSSAPIClientIdentity
	GSSAPIDelegateCredentials GSSAPIKexAlgorithms GSSAPIKeyExchange
	GSSAPIRenewalForcesRekey GSSAPIServerIdentity GSSAPITrustDns HashKnownHosts
	HostbasedAcceptedAlgorithms HostbasedAuthentication HostbasedKeyTypes
	HostKeyAlgorithms IPQoS KbdInteractiveAuthentication KbdInteractiveDevices
	KeepAlive KerberosAuthentication KerberosTGTPassing KexAlgorithms
	KnownHostsCommand LocalCommand LocalForward LogLevel LogVerbose MACs
	NoHostAuthenticationForLocalhost NumberOfPasswordPrompts ObscureKeystrokeTiming
	PasswordAuthentication PermitLocalCommand PermitRemoteOpen PKCS11Provider
	PreferredAuthentications Protocol ProxyUseFdpass PubkeyAcceptedAlgorithms
	PubkeyAcceptedKeyTypes PubkeyAuthentication RekeyLimit
	RemoteCommand RemoteForward RequestTTY RequiredRSASize RevokedHostKeys
	RhostsAuthentication RhostsRSAAuthentication RSAAuthentication
	SecurityKeyProvider SendEnv ServerAliveCountMax ServerAliveInterval SessionType
	SetEnv SkeyAuthentication SmartcardDevice StdinNull StreamLocalBindMask
	StreamLocalBindUnlink StrictHostKeyChecking SyslogFacility Tag TCPKeepAlive
	TISAuthentication Tunnel TunnelDevice UpdateHostKeys UseBlacklistedKeys
	UseKeychain UsePrivilegedPort UserKnownHostsFile2 UseRoaming UseRsh
	VerifyHostKeyDNS VersionAddendum VisualHostKey WarnWeakCrypto XAuthLocation`)

func keywordSet(text string) map[string]bool {
	set := map[string]bool{}
	for keyword := range strings.FieldsSeq(text) {
		set[strings.ToLower(keyword)] = true
	}
	return set
}
