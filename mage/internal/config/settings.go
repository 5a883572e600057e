package config

// setting is one value of ssh_config: ssh's default unless set.
type setting[T any] struct {
	value T
	set   bool // configured, rather than ssh's default
}

// or is s where it is configured, else other.
func (s setting[T]) or(other setting[T]) setting[T] {
	if s.set || !other.set {
		return s
	}
	return other
}

// settings is what ssh_config says of one name. Paths are as ssh gives them:
// `ssh -G` has expanded some.
type settings struct {
	hostName         setting[string]
	user             setting[string] // default: the local login name
	port             setting[int]    // default: 22
	identities       setting[[]string]
	identitiesOnly   setting[bool]
	identityAgent    setting[string] // "none", "SSH_AUTH_SOCK", "$NAME" or a path
	hostKeyAlias     setting[string]
	knownHosts       setting[[]string]
	globalKnownHosts setting[[]string]
	proxyJump        setting[string] // "none" when a proxy was switched off
	proxyCommand     setting[string]
}

// sshPort is where ssh connects when nothing is configured.
const sshPort = 22

// sshDefaults is what ssh does for a name of which no file says anything.
func sshDefaults(name, login string) settings {
	return settings{
		hostName:         setting[string]{value: name},
		user:             setting[string]{value: login},
		port:             setting[int]{value: sshPort},
		knownHosts:       setting[[]string]{value: []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}},
		globalKnownHosts: setting[[]string]{value: []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}},
	}
}

// or fills what s leaves unset from other. The two proxies are one setting.
func (s settings) or(other settings) settings {
	if !s.proxyJump.set && !s.proxyCommand.set {
		s.proxyJump, s.proxyCommand = other.proxyJump, other.proxyCommand
	}
	s.hostName = s.hostName.or(other.hostName)
	s.user = s.user.or(other.user)
	s.port = s.port.or(other.port)
	s.identities = s.identities.or(other.identities)
	s.identitiesOnly = s.identitiesOnly.or(other.identitiesOnly)
	s.identityAgent = s.identityAgent.or(other.identityAgent)
	s.hostKeyAlias = s.hostKeyAlias.or(other.hostKeyAlias)
	s.knownHosts = s.knownHosts.or(other.knownHosts)
	s.globalKnownHosts = s.globalKnownHosts.or(other.globalKnownHosts)
	return s
}

// query is one question to ssh_config. Empty fields are not given to ssh.
type query struct {
	name     string // as on ssh's command line, without user and port
	hostName string // already known, as with -o HostName=
	user     string // already known, as with -l
	port     int    // already known, as with -p
}
