package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// visit is a server with a user whose known_hosts is about to be tested.
type visit struct {
	*server
	home   home
	person *asker
	dialer *Dialer
	target Target
}

func newVisit(t *testing.T, knownHosts ...string) *visit {
	t.Helper()
	v := &visit{server: newServer(t), home: newHome(t), person: &asker{}}
	v.allowed = append(v.allowed, v.home.addKey("id_ed25519", ""))
	if len(knownHosts) > 0 {
		v.home.write("known_hosts", strings.Join(knownHosts, "\n"))
	}
	v.dialer = &Dialer{Home: v.home.dir, NetDial: v.dial, Prompter: v.person}
	v.target = Target{Name: "web-1", Address: "Web.Example", Port: 2222, Agent: "none", GlobalKnownHosts: []string{"none"}}
	return v
}

func (v *visit) key() ssh.PublicKey { return v.hostKeys[0].PublicKey() }

func (v *visit) knows(line string) {
	v.t.Helper()
	v.home.write("known_hosts", line)
}

func keyLine(pattern string, key ssh.PublicKey) string {
	return pattern + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func TestKnownHostForms(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]func(*visit) string{
		"plain":          func(v *visit) string { return keyLine("[web.example]:2222", v.key()) },
		"upper case":     func(v *visit) string { return keyLine("[WEB.example]:2222", v.key()) },
		"hashed":         func(v *visit) string { return keyLine(xknownhosts.HashHostname("[web.example]:2222"), v.key()) },
		"wildcard":       func(v *visit) string { return keyLine("*.example", v.key()) },
		"several":        func(v *visit) string { return keyLine("a,[web.example]:2222,b", v.key()) },
		"second file":    func(v *visit) string { v.home.write("known_hosts2", keyLine("*.example", v.key())); return "" },
		"CRLF":           func(v *visit) string { return keyLine("[web.example]:2222", v.key()) + "\r\n" },
		"comment at end": func(v *visit) string { return keyLine("[web.example]:2222", v.key()) + " added by me" },
		"among garbage": func(v *visit) string {
			return "garbage\n[x ssh-rsa AAAA\n|1|x ssh-rsa A\n" + keyLine("[web.example]:2222", v.key()) + "\n\x00\n"
		},
		"alias": func(v *visit) string { v.target.HostKeyAlias = "Prod"; return keyLine("prod", v.key()) },
		"after other key": func(v *visit) string {
			return keyLine("*.example", newSigner(v.t).PublicKey()) + "\n" + keyLine("*.example", v.key())
		},
		"foreign revoked": func(v *visit) string {
			return keyLine("@revoked *", newSigner(v.t).PublicKey()) + "\n" + keyLine("[web.example]:2222", v.key())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVisit(t)
			v.knows(form(v))
			require.NoError(t, try(t, v.dialer, v.target))
			assert.Empty(t, v.person.questions)
		})
	}
}

func TestKnownHostMismatch(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	old := newSigner(t).PublicKey()
	v.knows("# old\n" + keyLine("[web.example]:2222", old) + "\n")
	v.dialer.AcceptHostKeys = []string{ssh.FingerprintSHA256(v.key())}
	v.person.trust = func(context.Context, HostKeyQuestion) (bool, error) { return true, nil }
	err := try(t, v.dialer, v.target)
	var bad *HostKeyMismatchError
	require.ErrorAs(t, err, &bad, "neither a flag nor a person excuses a mismatch")
	assert.Equal(t, describe(v.key()), bad.Got)
	assert.Equal(t, []string{describe(old)}, bad.Want)
	assert.Equal(t, v.home.path("known_hosts")+":2", bad.Source)
	assert.ErrorContains(t, err, ssh.FingerprintSHA256(v.key()))
	assert.ErrorContains(t, err, ssh.FingerprintSHA256(old))
	assert.Contains(t, bad.NextStep().String(), "ssh-keygen -f "+v.home.path("known_hosts")+" -R '[web.example]:2222'")
	assert.Empty(t, v.sawKeys(), "no key of ours was shown")
	assert.Empty(t, v.person.questions)
}

// A server that only has a key of another type than the known one is a mismatch
// too, and shows its fingerprint.
func TestOtherKeyTypeIsAMismatch(t *testing.T) {
	t.Parallel()
	for _, pinned := range []bool{false, true} {
		v := newVisit(t)
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		other, err := ssh.NewSignerFromKey(private)
		require.NoError(t, err)
		if pinned {
			v.target.HostKey = keyLine("", other.PublicKey())
		} else {
			v.knows(keyLine("[web.example]:2222", other.PublicKey()))
		}
		err = try(t, v.dialer, v.target)
		var bad *HostKeyMismatchError
		require.ErrorAs(t, err, &bad)
		assert.Equal(t, describe(v.key()), bad.Got)
		assert.Equal(t, []string{describe(other.PublicKey())}, bad.Want)
	}
}

// Of several host keys the server must present the one that is known, whatever
// type comes first in its own or the library's preference.
func TestKnownTypeIsAskedFor(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, private := range []any{ec, rs} {
		signer, err := ssh.NewSignerFromKey(private)
		require.NoError(t, err)
		v.hostKeys = append(v.hostKeys, signer)
	}
	for _, k := range v.hostKeys {
		v.target.HostKey = ""
		v.knows(keyLine("*.example", k.PublicKey()))
		require.NoError(t, try(t, &Dialer{Home: v.home.dir, NetDial: v.dial}, v.target), k.PublicKey().Type())
		v.target.HostKey = keyLine("", k.PublicKey())
		require.NoError(t, try(t, &Dialer{Home: v.home.dir, NetDial: v.dial}, v.target), k.PublicKey().Type())
	}
}

func TestRevokedHostKey(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.knows(keyLine("@revoked *", v.key()) + "\n" + keyLine("*.example", v.key()))
	err := try(t, v.dialer, v.target)
	var bad *RevokedHostKeyError
	require.ErrorAs(t, err, &bad)
	assert.Equal(t, v.home.path("known_hosts")+":1", bad.Source)
	assert.NotEmpty(t, bad.NextStep().String())
	assert.Empty(t, v.sawKeys())
}

// certify gives the server a certificate of authority.
func (v *visit) certify(authority ssh.Signer, principal string) {
	v.t.Helper()
	cert := &ssh.Certificate{Key: v.key(), CertType: ssh.HostCert, ValidPrincipals: []string{principal}, ValidBefore: ssh.CertTimeInfinity}
	require.NoError(v.t, cert.SignCert(rand.Reader, authority))
	signer, err := ssh.NewCertSigner(cert, v.hostKeys[0])
	require.NoError(v.t, err)
	v.hostKeys = append(v.hostKeys, signer)
}

func TestHostCertificates(t *testing.T) {
	t.Parallel()
	authority := newSigner(t)
	for name, test := range map[string]struct {
		prepare func(*visit)
		check   func(*testing.T, *visit, error)
	}{
		"valid": {
			func(v *visit) {
				v.certify(authority, "web.example")
				v.knows(keyLine("@cert-authority *.example", authority.PublicKey()))
			},
			func(t *testing.T, _ *visit, err error) { require.NoError(t, err) },
		},
		"other principal": {
			func(v *visit) {
				v.certify(authority, "other.example")
				v.knows(keyLine("@cert-authority *.example", authority.PublicKey()))
			},
			func(t *testing.T, _ *visit, err error) { require.ErrorAs(t, err, new(*UnknownHostKeyError)) },
		},
		"other authority, plain key known": {
			func(v *visit) {
				v.certify(newSigner(v.t), "web.example")
				v.knows(keyLine("@cert-authority *.example", authority.PublicKey()) + "\n" + keyLine("*.example", v.key()))
			},
			func(t *testing.T, _ *visit, err error) { require.NoError(t, err) },
		},
		"other authority, other key known": {
			func(v *visit) {
				v.certify(newSigner(v.t), "web.example")
				v.knows(keyLine("@cert-authority *.example", authority.PublicKey()) + "\n" + keyLine("[web.example]:2222", newSigner(v.t).PublicKey()))
			},
			func(t *testing.T, _ *visit, err error) { require.ErrorAs(t, err, new(*HostKeyMismatchError)) },
		},
		"no certificate at all": {
			func(v *visit) { v.knows(keyLine("@cert-authority *.example", authority.PublicKey())) },
			func(t *testing.T, v *visit, err error) {
				require.ErrorAs(t, err, new(*UnknownHostKeyError))
				assert.Len(t, v.person.questions, 1)
			},
		},
		"the authority's own key is no host key": {
			func(v *visit) {
				v.hostKeys = []ssh.Signer{authority}
				v.knows(keyLine("@cert-authority *.example", authority.PublicKey()))
			},
			func(t *testing.T, _ *visit, err error) { require.ErrorAs(t, err, new(*UnknownHostKeyError)) },
		},
		"revoked authority": {
			func(v *visit) {
				v.certify(authority, "web.example")
				v.knows(keyLine("@cert-authority *.example", authority.PublicKey()) + "\n" + keyLine("@revoked *", authority.PublicKey()))
			},
			func(t *testing.T, _ *visit, err error) { require.ErrorAs(t, err, new(*RevokedHostKeyError)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVisit(t)
			test.prepare(v)
			test.check(t, v, try(t, v.dialer, v.target))
		})
	}
}

// What a client says about its host key can be pinned, also after a certificate.
func TestHostKeyOfACertifiedServerCanBePinned(t *testing.T) {
	t.Parallel()
	v, authority := newVisit(t), newSigner(t)
	v.certify(authority, "web.example")
	v.knows(keyLine("@cert-authority *.example", authority.PublicKey()))
	c, err := v.dialer.Dial(t.Context(), v.target)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	<-c.Done()
	assert.Equal(t, v.key(), c.HostKey())
	v.target.HostKey = c.HostKeyLine()
	require.NoError(t, try(t, v.dialer, v.target))
}

// When the second look at a server with another type of key fails, the first
// failure still tells what is wrong.
func TestOtherKeyTypeUnseen(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	v.target.HostKey = keyLine("", other.PublicKey())
	dials := 0
	v.dialer.NetDial = func(ctx context.Context, n, a string) (net.Conn, error) {
		if dials++; dials > 1 {
			return nil, syscall.ECONNREFUSED
		}
		return v.dial(ctx, n, a)
	}
	var un *UnreachableError
	require.ErrorAs(t, try(t, v.dialer, v.target), &un)
	assert.Equal(t, ReasonProtocol, un.Reason)
	assert.ErrorContains(t, un, "no common algorithm for host key")
}

func TestPinnedKeyDecidesAlone(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.knows(keyLine("[web.example]:2222", newSigner(t).PublicKey()))
	v.target.HostKey = keyLine("", v.key())
	require.NoError(t, try(t, v.dialer, v.target))

	// Keeps away: a login on the strength of a pin where ssh refuses.
	v.knows(keyLine("@revoked *", v.key()))
	require.ErrorAs(t, try(t, v.dialer, v.target), new(*RevokedHostKeyError))

	v.knows(keyLine("[web.example]:2222", v.key()))
	v.target.HostKey = keyLine("", newSigner(t).PublicKey())
	var bad *HostKeyMismatchError
	require.ErrorAs(t, try(t, v.dialer, v.target), &bad)
	assert.Equal(t, "the pinned host key", bad.Source)
	assert.Contains(t, bad.NextStep().String(), "hostKey in vps.yaml")
	assert.Contains(t, hintOf(t, bad), "in between")
}

func TestBadPinnedKey(t *testing.T) {
	t.Parallel()
	cert := &ssh.Certificate{Key: newSigner(t).PublicKey(), CertType: ssh.HostCert}
	require.NoError(t, cert.SignCert(rand.Reader, newSigner(t)))
	for _, line := range []string{"SHA256:abc", "ssh-ed25519 AAAA", keyLine("", cert)} {
		err := try(t, &Dialer{Home: t.TempDir()}, Target{Name: "web-1", Address: "192.0.2.1", Agent: "none", HostKey: line})
		require.ErrorContains(t, err, "pinned host key of web-1")
		assert.Contains(t, hintOf(t, err), "ssh-ed25519 AAAA")
	}
}

func TestUnknownHostIsRefusedWithoutATerminal(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	for _, p := range []Prompter{nil, v.person} {
		v.dialer.Prompter = p
		err := try(t, v.dialer, v.target)
		var unknown *UnknownHostKeyError
		require.ErrorAs(t, err, &unknown)
		assert.Equal(t, "host key of web-1 (Web.Example:2222) is not known and not accepted (there is no terminal to ask on): ssh-ed25519 "+
			ssh.FingerprintSHA256(v.key()), err.Error())
		assert.Contains(t, unknown.NextStep().String(), "in vps.yaml with hostKey: ssh-ed25519 AAAA")
		assert.False(t, unknown.Declined)
	}
	assert.NoFileExists(t, v.home.path("known_hosts"))
	assert.Empty(t, v.sawKeys())
}

func TestUnknownHostIsAskedAboutOnceAndRecorded(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	require.NoError(t, os.RemoveAll(v.home.dir+"/.ssh/known_hosts"))
	v.person.trust = func(context.Context, HostKeyQuestion) (bool, error) { return true, nil }
	var logins sync.WaitGroup
	for range 4 {
		logins.Go(func() { assert.NoError(t, try(t, v.dialer, v.target)) })
	}
	logins.Wait()
	assert.Equal(t, []HostKeyQuestion{{Name: "web-1", Address: "Web.Example:2222", Type: "ssh-ed25519",
		Fingerprint: ssh.FingerprintSHA256(v.key())}}, v.person.questions)
	recorded, err := os.ReadFile(v.home.path("known_hosts"))
	require.NoError(t, err)
	assert.Equal(t, keyLine("[web.example]:2222", v.key())+"\n", string(recorded))

	require.NoError(t, try(t, &Dialer{Home: v.home.dir, NetDial: v.dial}, v.target), "known from now on")
	v.hostKeys = []ssh.Signer{newSigner(t)}
	require.ErrorAs(t, try(t, v.dialer, v.target), new(*HostKeyMismatchError))
}

func TestDeclinedHost(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.person.trust = func(context.Context, HostKeyQuestion) (bool, error) { return false, nil }
	var unknown *UnknownHostKeyError
	require.ErrorAs(t, try(t, v.dialer, v.target), &unknown)
	assert.True(t, unknown.Declined)
	assert.NoFileExists(t, v.home.path("known_hosts"))
}

func TestQuestionTellsOtherNamesOfTheKey(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.knows(keyLine("old.example.org", v.key()))
	require.Error(t, try(t, v.dialer, v.target))
	assert.Equal(t, []string{"old.example.org (" + v.home.path("known_hosts") + ":1)"}, v.person.questions[0].KnownAs)
}

func TestAcceptedByFingerprint(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.dialer.AcceptHostKeys = []string{"SHA256:other", ssh.FingerprintSHA256(v.key())}
	v.dialer.ForgetHostKeys = true
	require.NoError(t, try(t, v.dialer, v.target))
	assert.NoFileExists(t, v.home.path("known_hosts"))

	v.hostKeys = []ssh.Signer{newSigner(t)}
	var bad *HostKeyMismatchError
	require.ErrorAs(t, try(t, v.dialer, v.target), &bad, "the key must stay the same within one run")
	assert.Equal(t, "the key accepted a moment ago", bad.Source)
	assert.NotContains(t, bad.NextStep().String(), "ssh-keygen")
}

func TestRecordingFailsWithoutHarm(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	v.target.KnownHosts = []string{filepath.Join(v.home.path("id_ed25519"), "known_hosts")} // below a file
	v.dialer.AcceptHostKeys = []string{ssh.FingerprintSHA256(v.key())}
	var told []string
	v.dialer.Notice = func(host, text string) { told = append(told, host+": "+text) }
	c, err := v.dialer.Dial(t.Context(), v.target)
	require.NoError(t, err)
	defer func() { _ = c.Close(); <-c.Done() }()
	require.Len(t, told, 1)
	assert.Contains(t, told[0], "web-1: the host key could not be recorded")
	assert.Equal(t, ssh.FingerprintSHA256(v.key()), c.Fingerprint())
	assert.Equal(t, keyLine("", v.key()), " "+c.HostKeyLine())
	assert.Equal(t, v.key(), c.HostKey())
	assert.Equal(t, v.target, c.Target())
}

func TestUnreadableKnownHosts(t *testing.T) {
	t.Parallel()
	v := newVisit(t)
	require.NoError(t, os.Mkdir(v.home.path("known_hosts"), 0o700))
	require.ErrorContains(t, try(t, v.dialer, v.target), v.home.path("known_hosts"))
}

func TestAppendLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new", "known_hosts")
	require.NoError(t, appendLine(file, "one\n"))
	folder, err := os.Stat(filepath.Dir(file))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), folder.Mode().Perm())
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.NoError(t, os.WriteFile(file, []byte("one\nunfinished"), 0o600))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { assert.NoError(t, appendLine(file, "x y z\n")) })
	}
	all.Wait()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "one unfinished"+strings.Repeat(" x y z", 20), strings.Join(strings.Fields(string(data)), " "))
	for line := range strings.Lines(string(data)) {
		assert.Contains(t, []string{"one\n", "unfinished\n", "x y z\n", "\n"}, line)
	}
}

func TestRecordedNamesAreFoundAgain(t *testing.T) {
	t.Parallel()
	for _, target := range []Target{{Address: "192.0.2.1"}, {Address: "192.0.2.1", Port: 2222}, {Address: "2001:db8::1"},
		{Address: "[2001:db8::1]", Port: 2222}, {Address: "Web.Example"}, {Address: "x", Port: 9, HostKeyAlias: "prod"}} {
		h := newHome(t)
		d := &Dialer{Home: h.dir}
		target.GlobalKnownHosts = []string{os.DevNull}
		key := newSigner(t).PublicKey()
		require.NoError(t, d.record(target, key))
		p, err := d.hostKeyPolicy(target)
		require.NoError(t, err)
		require.Len(t, p.known, 1, target.Addr())
		assert.Equal(t, key, p.known[0].key)
	}
}

// A pin comes from a file that others may change; a line of known_hosts does not.
func TestContradictingLinesOfAPin(t *testing.T) {
	t.Parallel()
	pinned, other := newSigner(t).PublicKey(), newSigner(t).PublicKey()
	for name, c := range map[string]struct {
		known string
		found int
	}{
		"nothing known":       {"", 0},
		"the same key":        {keyLine("[web.example]:2222", pinned), 0},
		"another key":         {keyLine("[web.example]:2222", other), 1},
		"both":                {keyLine("[web.example]:2222", other) + "\n" + keyLine("[web.example]:2222", pinned), 0},
		"another of the port": {keyLine("[web.example]:22", other), 0},
		"hashed":              {keyLine(xknownhosts.HashHostname("[web.example]:2222"), other), 1},
		"another name's":      {keyLine("[mail.example]:2222", other), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVisit(t, c.known)
			v.target.HostKey = keyLine("", pinned)
			found, err := v.dialer.Contradicting(v.target)
			require.NoError(t, err)
			require.Len(t, found, c.found)
			if c.found > 0 {
				assert.Equal(t, KnownKey{"ssh-ed25519", ssh.FingerprintSHA256(other), v.home.path("known_hosts") + ":1"}, found[0])
			}
			v.target.HostKey = ""
			found, err = v.dialer.Contradicting(v.target)
			require.NoError(t, err)
			assert.Empty(t, found)
		})
	}
}
