package config

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bench is a folder with keys of every kind, for the client and for an OpenSSH
// server beside it.
type bench struct {
	t    *testing.T
	dir  string
	port int
	env  []string // of ssh and of our resolver
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) read(name string) string {
	b.t.Helper()
	data, err := os.ReadFile(b.path(name))
	require.NoError(b.t, err)
	return strings.TrimSpace(string(data))
}

// run runs a program in the folder.
func (b *bench) run(program string, args ...string) {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), program, args...)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), b.env...)
	out, err := cmd.CombinedOutput()
	require.NoError(b.t, err, "%s %q: %s", program, args, out)
}

// key makes a key pair.
func (b *bench) key(name string, options ...string) {
	b.t.Helper()
	b.run("ssh-keygen", append([]string{"-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name}, options...)...)
}

// sign makes a certificate for NAME.pub: NAME-cert.pub.
func (b *bench) sign(authority, name string, options ...string) {
	b.t.Helper()
	b.run("ssh-keygen", append(append([]string{"-q", "-s", authority, "-I", name}, options...), name+".pub")...)
}

// knows writes a known_hosts file: the given lines, in which HOST stands for the
// server's name there and KEY for its ed25519 key.
func (b *bench) knows(lines ...string) {
	b.t.Helper()
	text := strings.NewReplacer("HOST", fmt.Sprintf("[127.0.0.1]:%d", b.port), "KEY", b.read("host.pub")).Replace(strings.Join(lines, "\n") + "\n")
	write(b.t, b.dir, "known", text)
}

// agent starts an agent that holds keys.
func (b *bench) agent(keys ...string) {
	b.t.Helper()
	socket := filepath.Join(b.t.TempDir(), "s")
	cmd := exec.CommandContext(b.t.Context(), "ssh-agent", "-D", "-a", socket)
	require.NoError(b.t, cmd.Start())
	b.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	b.env = append(b.env, "SSH_AUTH_SOCK="+socket)
	require.Eventually(b.t, func() bool { _, err := os.Stat(socket); return err == nil }, 10*time.Second, 5*time.Millisecond)
	for _, key := range keys {
		b.run("ssh-add", "-q", key)
	}
}

// serve starts sshd with further lines of configuration.
func (b *bench) serve(lines ...string) {
	b.t.Helper()
	listener, err := new(net.ListenConfig).Listen(b.t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(b.t, err)
	b.port = listener.Addr().(*net.TCPAddr).Port
	require.NoError(b.t, listener.Close())
	text := strings.Join(append(lines, fmt.Sprintf("Port %d", b.port), "ListenAddress 127.0.0.1", "HostKey "+b.path("host"),
		"AuthorizedKeysFile "+b.path("authorized_keys"), "StrictModes no", "UsePAM no", "PidFile none", "PermitRootLogin yes",
		"PasswordAuthentication no", "MaxStartups 100", ""), "\n")
	text = strings.ReplaceAll(text, "DIR", b.dir)
	cmd := exec.CommandContext(b.t.Context(), "/usr/sbin/sshd", "-D", "-e", "-f", write(b.t, b.dir, "sshd_config", text))
	var log bytes.Buffer
	cmd.Stderr = &log
	require.NoError(b.t, cmd.Start())
	b.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if b.t.Failed() {
			b.t.Log(log.String())
		}
	})
	require.Eventually(b.t, func() bool {
		conn, err := new(net.Dialer).DialContext(b.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", b.port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 5*time.Millisecond, "sshd does not listen: %s", &log)
}

func newBench(t *testing.T) *bench {
	t.Helper()
	for _, program := range []string{"/usr/sbin/sshd", "ssh", "ssh-keygen", "ssh-agent", "ssh-add"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("VPS_E2E") == "1" {
				t.Fatal("needs OpenSSH: ", err)
			}
			t.Skip("needs OpenSSH: ", err)
		}
	}
	if os.Getuid() == 0 {
		require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	}
	b := &bench{t: t, dir: t.TempDir(), env: []string{"SSH_ASKPASS=/bin/false", "SSH_AUTH_SOCK=/none-such"}}
	b.key("host")
	b.key("me")
	write(t, b.dir, "authorized_keys", b.read("me.pub"))
	return b
}

// login is one way to log in: who is right is the ssh program.
type login struct {
	sshd    []string       // further lines of sshd_config; DIR is the folder
	prepare func(b *bench) // before sshd starts
	known   []string       // known_hosts; one line "HOST KEY" when nil
	config  string         // for the host; DIR is the folder
	without bool           // config says all: no line of the usual ones
	names   string         // where ssh logs in and we do not: what our error must name
}

const usual = "IdentityFile DIR/me\nIdentityAgent none\n"

var logins = map[string]login{
	"a key":                          {},
	"a key that the server lacks":    {prepare: func(b *bench) { b.key("other") }, config: "IdentityFile DIR/other\n", without: true},
	"no key":                         {config: "IdentityFile none\nIdentityAgent none\n", without: true},
	"no key file, but an agent":      {prepare: func(b *bench) { b.agent("me") }, config: "IdentityFile none\n", without: true},
	"agent, one of nine":             {sshd: []string{"MaxAuthTries 6"}, prepare: nine, config: "IdentityFile DIR/me\n", without: true},
	"agent, IdentitiesOnly":          {sshd: []string{"MaxAuthTries 2"}, prepare: nine, config: "IdentityFile DIR/me.pub\nIdentitiesOnly yes\n", without: true},
	"agent, not the one that is set": {prepare: func(b *bench) { b.key("other"); b.agent("me") }, config: "IdentityFile DIR/other\nIdentitiesOnly yes\n", without: true},
	"agent switched off":             {prepare: func(b *bench) { b.agent("me") }, config: "IdentityFile none\nIdentityAgent none\n", without: true},
	"several keys, the last is right": {prepare: func(b *bench) { b.key("a"); b.key("b") },
		config: "IdentityFile DIR/a\nIdentityFile DIR/b\nIdentityFile DIR/me\nIdentityAgent none\n", without: true},

	"identity that is absent":       {config: "IdentityFile DIR/none-such\n" + usual, without: true},
	"identity that is empty":        {prepare: func(b *bench) { write(b.t, b.dir, "bad", "") }, config: "IdentityFile DIR/bad\n" + usual, without: true},
	"identity that others can read": {prepare: func(b *bench) { b.key("bad"); b.run("chmod", "644", "bad") }, config: "IdentityFile DIR/bad\n" + usual, without: true},
	"identity that is a folder":     {prepare: func(b *bench) { b.run("mkdir", "bad") }, config: "IdentityFile DIR/bad\n" + usual, without: true},
	"identity of PuTTY's": {prepare: func(b *bench) {
		write(b.t, b.dir, "bad", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 0\nPrivate-Lines: 0\nPrivate-MAC: 00\n")
	}, config: "IdentityFile DIR/bad\n" + usual, without: true},
	"identity encrypted as PKCS#8": {prepare: func(b *bench) {
		b.key("bad", "-t", "rsa", "-m", "PKCS8", "-N", "secret")
	}, config: "BatchMode yes\nIdentityFile DIR/bad\n" + usual, without: true},
	"identity with a passphrase": {prepare: func(b *bench) { b.key("bad", "-N", "secret") }, config: "BatchMode yes\nIdentityFile DIR/bad\n" + usual, without: true},
	"identity in hardware": {prepare: func(b *bench) {
		write(b.t, b.dir, "bad", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n")
		write(b.t, b.dir, "bad.pub", "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIGtra2tra2tra2tra2tra2tra2tra2tra2tra2tra2trAAAABHNzaDo= x\n")
	}, config: "IdentityFile DIR/bad\n" + usual, without: true},

	"certificate of a file's key":   {sshd: trusted, prepare: certified(), config: "IdentityFile DIR/u\nCertificateFile DIR/signed.pub\nIdentityAgent none\n", without: true},
	"certificate beside the key":    {sshd: trusted, prepare: func(b *bench) { certified()(b); b.run("cp", "signed.pub", "u-cert.pub") }, config: "IdentityFile DIR/u\nIdentityAgent none\n", without: true},
	"certificate of an agent's key": {sshd: trusted, prepare: func(b *bench) { certified()(b); b.agent("u") }, config: "IdentityFile DIR/u.pub\nIdentitiesOnly yes\nCertificateFile DIR/signed.pub\n", without: true},
	"certificate, agent, no file":   {sshd: trusted, prepare: func(b *bench) { certified()(b); b.agent("u") }, config: "CertificateFile DIR/signed.pub\n", without: true},
	"certificate that is over":      {sshd: trusted, prepare: certified("-V", "20200101:20200102"), config: "IdentityFile DIR/u\nCertificateFile DIR/signed.pub\nIdentityAgent none\n", without: true},
	"certificate for another user":  {sshd: trusted, prepare: certified("-n", "nobody"), config: "IdentityFile DIR/u\nCertificateFile DIR/signed.pub\nIdentityAgent none\n", without: true},
	"certificate that is absent":    {config: usual + "CertificateFile DIR/none-such\n", without: true},
	"certificate that is none":      {config: usual + "CertificateFile DIR/me.pub\n", without: true},
	"certificate without its key":   {prepare: certified(), config: usual + "CertificateFile DIR/signed.pub\n", without: true},

	"two keys wanted": {sshd: []string{"AuthenticationMethods publickey,publickey"}, prepare: func(b *bench) {
		b.key("two")
		write(b.t, b.dir, "authorized_keys", b.read("me.pub")+"\n"+b.read("two.pub")+"\n")
	}, config: "IdentityFile DIR/two\n"},
	"a password wanted, too":       {sshd: []string{"AuthenticationMethods publickey,password", "PasswordAuthentication yes"}},
	"an answer wanted, too":        {sshd: []string{"AuthenticationMethods publickey,keyboard-interactive", "KbdInteractiveAuthentication yes"}},
	"PubkeyAuthentication no":      {config: "PubkeyAuthentication no\n"},
	"PreferredAuthentications":     {config: "PreferredAuthentications keyboard-interactive,publickey\n"},
	"PreferredAuthentications, no": {config: "PreferredAuthentications password\n"},
	"PubkeyAcceptedAlgorithms":     {config: "PubkeyAcceptedAlgorithms ssh-ed25519\n"},
	"PubkeyAcceptedAlgorithms, no": {config: "PubkeyAcceptedAlgorithms -ssh-ed25519\n"},
	"RSA key":                      {prepare: rsaKey, config: "IdentityFile DIR/r\nIdentityAgent none\n", without: true},
	"RSA key that is short":        {prepare: rsaKey, config: "RequiredRSASize 3000\nIdentityFile DIR/r\nIdentityAgent none\n", without: true},
	"RSA key, not in SHA-1":        {sshd: []string{"PubkeyAcceptedAlgorithms ssh-rsa"}, prepare: rsaKey, config: "IdentityFile DIR/r\nIdentityAgent none\n", without: true},

	"known_hosts: unknown":             {known: []string{""}},
	"known_hosts: another key":         {known: []string{"HOST " + otherKey}},
	"known_hosts: two keys":            {known: []string{"HOST " + otherKey, "HOST KEY"}},
	"known_hosts: pattern":             {known: []string{"[127.0.0.?]:* KEY"}},
	"known_hosts: negated":             {known: []string{"!HOST,[127.*]:* KEY"}},
	"known_hosts: without a port":      {known: []string{"127.0.0.1 KEY"}},
	"known_hosts: pattern for a name":  {known: []string{"127.0.* KEY"}},
	"known_hosts: other, no port":      {known: []string{"127.0.0.1 " + otherKey}},
	"known_hosts: port other, bare ok": {known: []string{"HOST " + otherKey, "127.0.0.1 KEY"}},
	"known_hosts: revoked":             {known: []string{"HOST KEY", "@revoked * KEY"}},
	"known_hosts: hashed": {prepare: func(b *bench) {}, known: []string{"HOST KEY"}, config: "UserKnownHostsFile DIR/hashed\n",
		sshd: []string{"#hash"}},
	"known_hosts: none":            {config: "UserKnownHostsFile none\nGlobalKnownHostsFile none\n"},
	"known_hosts: only the global": {config: "UserKnownHostsFile none\nGlobalKnownHostsFile DIR/known\n"},
	"known_hosts: a second file":   {config: "UserKnownHostsFile DIR/none-such DIR/known\n"},
	"known_hosts: blanks":          {prepare: func(b *bench) { b.run("ln", "-s", "known", "a b") }, config: "UserKnownHostsFile \"DIR/a b\"\n"},
	"known_hosts: alias":           {known: []string{"prod KEY"}, config: "HostKeyAlias Prod\n"},
	"known_hosts: alias, unknown":  {known: []string{"HOST KEY"}, config: "HostKeyAlias Prod\n"},
	"known_hosts: damaged lines":   {known: []string{"x", "|1|x|y ssh-ed25519 AAAA", "HOST", "@foo HOST KEY", "HOST KEY"}},

	"host certificate":                {known: []string{"@cert-authority [127.0.0.1]:* CA"}, sshd: certifiedHost, prepare: hostCert("-n", "127.0.0.1")},
	"host certificate, bare name":     {known: []string{"@cert-authority 127.0.0.1 CA"}, sshd: certifiedHost, prepare: hostCert("-n", "127.0.0.1")},
	"host certificate, other host":    {known: []string{"@cert-authority [127.0.0.1]:* CA"}, sshd: certifiedHost, prepare: hostCert("-n", "x.example")},
	"host certificate, over":          {known: []string{"@cert-authority [127.0.0.1]:* CA"}, sshd: certifiedHost, prepare: hostCert("-n", "127.0.0.1", "-V", "20200101:20200102")},
	"host certificate, CA revoked":    {known: []string{"@cert-authority [127.0.0.1]:* CA", "@revoked * CA"}, sshd: certifiedHost, prepare: hostCert("-n", "127.0.0.1")},
	"host certificate, CA's way":      {known: []string{"@cert-authority [127.0.0.1]:* CA"}, sshd: certifiedHost, prepare: hostCert("-n", "127.0.0.1"), config: "CASignatureAlgorithms ecdsa-sha2-nistp256\n"},
	"host certificate, key known":     {known: []string{"@cert-authority [127.0.0.1]:* CA", "HOST KEY"}, sshd: certifiedHost, prepare: hostCert("-n", "x.example")},
	"host certificate, not offered":   {known: []string{"@cert-authority [127.0.0.1]:* CA"}, sshd: certifiedHost, prepare: hostCert("-n", "127.0.0.1"), config: "HostKeyAlgorithms ssh-ed25519\n"},
	"host certificate, alias":         {known: []string{"@cert-authority prod CA"}, sshd: certifiedHost, prepare: hostCert("-n", "prod"), config: "HostKeyAlias prod\n"},
	"host certificate, KRL by serial": {known: []string{"@cert-authority [127.0.0.1]:* CA"}, sshd: certifiedHost, prepare: revokedCert("serial: 5-9\n"), config: "RevokedHostKeys DIR/krl\n"},
	"host certificate, KRL by id":     {known: []string{"@cert-authority [127.0.0.1]:* CA"}, sshd: certifiedHost, prepare: revokedCert("id: host\n"), config: "RevokedHostKeys DIR/krl\n"},
	"host certificate, KRL of others": {known: []string{"@cert-authority [127.0.0.1]:* CA"}, sshd: certifiedHost, prepare: revokedCert("serial: 8\nid: other\n"), config: "RevokedHostKeys DIR/krl\n"},

	"RevokedHostKeys: a list":        {config: "RevokedHostKeys DIR/host.pub\n"},
	"RevokedHostKeys: of others":     {config: "RevokedHostKeys DIR/me.pub\n"},
	"RevokedHostKeys: a KRL":         {prepare: krl("host.pub"), config: "RevokedHostKeys DIR/krl\n"},
	"RevokedHostKeys: a KRL, SHA1":   {prepare: krlOf("sha1: "), config: "RevokedHostKeys DIR/krl\n"},
	"RevokedHostKeys: a KRL, SHA256": {prepare: krlOf("sha256: "), config: "RevokedHostKeys DIR/krl\n"},
	"RevokedHostKeys: others' KRL":   {prepare: krl("me.pub"), config: "RevokedHostKeys DIR/krl\n"},
	"RevokedHostKeys: absent":        {config: "RevokedHostKeys DIR/none-such\n"},
	"RevokedHostKeys: empty":         {prepare: func(b *bench) { write(b.t, b.dir, "list", "") }, config: "RevokedHostKeys DIR/list\n"},
	"RevokedHostKeys: broken KRL":    {prepare: func(b *bench) { write(b.t, b.dir, "list", "SSHKRL\n\x00\x00\x00\x00\x01abc") }, config: "RevokedHostKeys DIR/list\n"},
	"RevokedHostKeys: none":          {config: "RevokedHostKeys none\n"},

	"StrictHostKeyChecking yes, unknown": {known: []string{""}, config: "StrictHostKeyChecking yes\n"},
	"StrictHostKeyChecking accept-new":   {known: []string{""}, config: "StrictHostKeyChecking accept-new\n"},
	"accept-new, another key":            {known: []string{"HOST " + otherKey}, config: "StrictHostKeyChecking accept-new\n"},
	"StrictHostKeyChecking no, unknown":  {known: []string{""}, config: "StrictHostKeyChecking no\n", names: "StrictHostKeyChecking no"},
	"StrictHostKeyChecking no, changed":  {known: []string{"HOST " + otherKey}, config: "StrictHostKeyChecking no\n", names: "StrictHostKeyChecking no"},
	"StrictHostKeyChecking no, known":    {config: "StrictHostKeyChecking no\n"},
	"localhost needs no key":             {known: []string{""}, config: "NoHostAuthenticationForLocalhost yes\n", names: "NoHostAuthenticationForLocalhost yes"},
	"KnownHostsCommand":                  {known: []string{""}, config: "KnownHostsCommand /bin/cat DIR/command\n", names: "KnownHostsCommand", prepare: func(b *bench) { write(b.t, b.dir, "command", "") }, sshd: []string{"#command"}},

	"KexAlgorithms":            {config: "KexAlgorithms curve25519-sha256\n"},
	"KexAlgorithms, old name":  {config: "KexAlgorithms curve25519-sha256@libssh.org\n"},
	"KexAlgorithms, no common": {sshd: []string{"KexAlgorithms ecdh-sha2-nistp256"}, config: "KexAlgorithms curve25519-sha256\n"},
	"KexAlgorithms, SHA-1":     {sshd: []string{"KexAlgorithms diffie-hellman-group14-sha1"}, config: "KexAlgorithms diffie-hellman-group14-sha1\n", names: "KexAlgorithms"},
	"KexAlgorithms, not here":  {config: "KexAlgorithms sntrup761x25519-sha512@openssh.com\n", names: "KexAlgorithms"},
	"Ciphers":                  {config: "Ciphers aes256-ctr\nMACs hmac-sha2-512\n"},
	"Ciphers, CBC":             {sshd: []string{"Ciphers aes128-cbc"}, config: "Ciphers aes128-cbc\n", names: "Ciphers"},
	"MACs, SHA-1":              {sshd: []string{"MACs hmac-sha1", "Ciphers aes128-ctr"}, config: "MACs hmac-sha1\nCiphers aes128-ctr\n", names: "MACs"},
	"MACs that nobody needs":   {config: "MACs hmac-sha1\nCiphers aes128-gcm@openssh.com\n"},
	"MACs that are not here":   {config: "MACs umac-128-etm@openssh.com\n"},
	"HostKeyAlgorithms":        {config: "HostKeyAlgorithms ssh-ed25519\n"},
	"HostKeyAlgorithms, other": {config: "HostKeyAlgorithms rsa-sha2-512\n"},

	"AddressFamily inet":         {config: "AddressFamily inet\n"},
	"AddressFamily inet6":        {config: "AddressFamily inet6\n"},
	"BindAddress":                {sshd: []string{"AllowUsers ME@127.0.0.7"}, config: "BindAddress 127.0.0.7\n"},
	"BindAddress that is wanted": {sshd: []string{"AllowUsers ME@127.0.0.7"}},
	"BindAddress, not here":      {config: "BindAddress 192.0.2.1\n"},
	"BindInterface":              {config: "BindInterface lo\n"},
	"BindInterface, not here":    {config: "BindInterface nosuch0\n"},
	"ConnectionAttempts":         {config: "ConnectionAttempts 2\nConnectTimeout 5\n"},
	"CheckHostIP":                {config: "CheckHostIP yes\n"},
	"ProxyCommand":               {config: "ProxyCommand bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3'\n", names: "ProxyCommand"},
	"ProxyJump to an address":    {config: "ProxyJump 127.0.0.1\n"},
	"ProxyJump with all": {known: []string{"HOST KEY", "[127.0.0.2]:* KEY"}, sshd: []string{"ListenAddress 127.0.0.2"},
		config: "ProxyJump ME@127.0.0.2:PORT\n"},
	"ProxyJump none": {config: "ProxyJump none\n"},
	"no part of a login": {config: "Compression yes\nForwardAgent yes\nLogLevel QUIET\nServerAliveInterval 9\nSendEnv X\nSetEnv A=b\n" +
		"VisualHostKey yes\nUpdateHostKeys no\nIPQoS none\nTCPKeepAlive no\nRekeyLimit 1G\nGSSAPIAuthentication yes\n"},
}

const otherKey = keyA

var (
	trusted       = []string{"TrustedUserCAKeys DIR/ca.pub"}
	certifiedHost = []string{"HostCertificate DIR/host-cert.pub"}
)

func nine(b *bench) {
	keys := []string{}
	for i := range 8 {
		keys = append(keys, fmt.Sprint("decoy", i))
		b.key(keys[i])
	}
	b.agent(append(keys, "me")...)
}

// certified makes the key u and signed.pub, its certificate.
func certified(options ...string) func(*bench) {
	return func(b *bench) {
		me, err := user.Current()
		require.NoError(b.t, err)
		b.key("ca")
		b.key("u")
		b.sign("ca", "u", append([]string{"-n", me.Username}, options...)...)
		b.run("mv", "u-cert.pub", "signed.pub")
	}
}

func hostCert(options ...string) func(*bench) {
	return func(b *bench) {
		b.key("ca")
		b.sign("ca", "host", append([]string{"-h", "-z", "7"}, options...)...)
	}
}

func revokedCert(what string) func(*bench) {
	return func(b *bench) {
		hostCert("-n", "127.0.0.1")(b)
		b.run("ssh-keygen", "-q", "-k", "-f", "krl", "-s", "ca.pub", write(b.t, b.dir, "what", what))
	}
}

func krl(key string) func(*bench) {
	return func(b *bench) { b.run("ssh-keygen", "-q", "-k", "-f", "krl", key) }
}

func krlOf(how string) func(*bench) {
	return func(b *bench) {
		b.run("ssh-keygen", "-q", "-k", "-f", "krl", write(b.t, b.dir, "what", how+b.read("host.pub")+"\n"))
	}
}

func rsaKey(b *bench) {
	b.key("r", "-t", "rsa", "-b", "2048")
	write(b.t, b.dir, "authorized_keys", b.read("r.pub"))
}

// sample are the cases that run always; VPS_E2E=1 runs all of them.
var sample = []string{"a key", "identity that is absent", "certificate of an agent's key", "known_hosts: none",
	"RevokedHostKeys: a KRL", "RevokedHostKeys: absent", "ProxyJump to an address", "KexAlgorithms, SHA-1"}

// Whatever ssh_config, keys and known_hosts say: we log in where ssh does, and
// nowhere else; where ssh does and we cannot, the error names the keyword.
func TestLogsInWhereSSHDoes(t *testing.T) {
	t.Parallel()
	for name, l := range logins {
		if os.Getenv("VPS_E2E") != "1" && !slices.Contains(sample, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l.compare(t, newBench(t))
		})
	}
}

func (l login) compare(t *testing.T, b *bench) {
	t.Helper()
	me, err := user.Current()
	require.NoError(t, err)
	if l.prepare != nil {
		l.prepare(b)
	}
	fill := func(text string) string {
		return strings.NewReplacer("DIR", b.dir, "ME", me.Username, "PORT", fmt.Sprint(b.port)).Replace(text)
	}
	b.serve(strings.Split(fill(strings.Join(l.sshd, "\n")), "\n")...)
	know := func() {
		b.knows("HOST KEY")
		if l.known != nil {
			ca := ""
			if _, err := os.Stat(b.path("ca.pub")); err == nil {
				ca = b.read("ca.pub")
			}
			b.knows(strings.ReplaceAll(strings.Join(l.known, "\n"), "CA", ca))
		}
	}
	know()
	switch strings.Join(l.sshd, "") {
	case "#hash":
		b.run("cp", "known", "hashed")
		b.run("ssh-keygen", "-q", "-H", "-f", "hashed")
		b.run("rm", "known")
	case "#command":
		write(t, b.dir, "command", fmt.Sprintf("[127.0.0.1]:%d %s\n", b.port, b.read("host.pub")))
	}
	config := l.config
	if !l.without {
		config += usual
	}
	file := write(t, b.dir, "ssh_config", fill("Host srv\n HostName 127.0.0.1\n"+config+
		"\nHost *\n Port PORT\n User ME\n IdentityFile DIR/me\n IdentityAgent none\n UserKnownHostsFile DIR/known\n GlobalKnownHostsFile none\n UpdateHostKeys no\n"))
	if l.without {
		file = write(t, b.dir, "ssh_config", fill("Host srv\n HostName 127.0.0.1\n"+config+
			"\nHost *\n Port PORT\n User ME\n UserKnownHostsFile DIR/known\n GlobalKnownHostsFile none\n UpdateHostKeys no\n"))
	}

	ssh := b.ssh(file)
	know() // ssh may have written it
	if strings.Join(l.sshd, "") == "#hash" {
		b.run("rm", "-f", "known")
	}
	ours := b.dial(t, file)
	switch {
	case l.names != "":
		require.NoError(t, ssh, "the case is about what ssh does and we do not")
		require.ErrorContains(t, ours, l.names)
	case ssh == nil:
		assert.NoError(t, ours, "ssh logs in")
	default:
		assert.Error(t, ours, "ssh does not log in: %v", ssh)
	}
	t.Logf("ssh: %v\nours: %v", ssh, ours)
}

// ssh logs in with the real program, without a terminal.
func (b *bench) ssh(config string) error {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "setsid", "ssh", "-F", config, "srv", "true")
	cmd.Env = append(os.Environ(), b.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// dial logs in as this project does.
func (b *bench) dial(t *testing.T, config string) error {
	t.Helper()
	r := resolver(t, "", "# a file")
	r.SSHConfig = config
	h, err := r.ResolveOne(t.Context(), "srv")
	if err != nil {
		return err
	}
	if h.Agent == "" { // the one of this case
		h.Agent = strings.TrimPrefix(b.env[len(b.env)-1], "SSH_AUTH_SOCK=")
	}
	c, err := new(remote.Dialer).Dial(t.Context(), h.Target)
	if err == nil {
		err = c.Run(t.Context(), remote.Cmd{Line: "true"})
		_ = c.Close()
		<-c.Done()
	}
	return err
}
