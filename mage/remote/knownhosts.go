package remote

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- known_hosts hashes names with it
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// Bounds, in bytes, on what is read of known_hosts: one file, and one line.
const (
	maxKnownHosts = 64 << 20
	maxHostLine   = 60 << 10
)

const (
	markerAuthority = "@cert-authority"
	markerRevoked   = "@revoked"
)

// knownHosts is what the known_hosts files say. It does not change once loaded.
type knownHosts struct{ lines []hostLine }

// userKnownHosts are the files of t to look up, and to record in, first to last.
func (d *Dialer) userKnownHosts(t Target) []string {
	return d.files(t.KnownHosts, "~/.ssh/known_hosts", "~/.ssh/known_hosts2")
}

// files are a list's files, or the usual ones where it gives none.
func (d *Dialer) files(list []string, usual ...string) []string {
	if len(list) == 0 {
		list = usual
	}
	if isNone(list) {
		return nil
	}
	files := make([]string, len(list))
	for i, f := range list {
		files[i] = d.expand(f)
	}
	return files
}

// knownHosts reads the files of t, unless they are as they were when read last.
func (d *Dialer) knownHosts(t Target) (*knownHosts, error) {
	files, stamp := existing(append(d.userKnownHosts(t),
		d.files(t.GlobalKnownHosts, "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")...))
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	if hosts, ok := d.memory.verified[stamp]; ok {
		return hosts, nil
	}
	hosts, err := loadKnownHosts(files)
	if err != nil {
		return nil, err
	}
	return remember(&d.memory.verified, stamp, func() *knownHosts { return hosts }), nil
}

// KnownKey is what a known_hosts line has of a host.
type KnownKey struct {
	Type        string // "ssh-ed25519"
	Fingerprint string // "SHA256:…"
	Source      string // FILE:LINE
}

// Contradicting are the known_hosts lines for t, under its name and port, that have
// another key than the pinned one, unless a line has that one, too. Without a pin
// there are none.
func (d *Dialer) Contradicting(t Target) ([]KnownKey, error) {
	if t.HostKey == "" {
		return nil, nil
	}
	pinned, err := parsePinned(t.HostKey)
	if err != nil {
		return nil, nil // dialling says so
	}
	hosts, err := d.knownHosts(t)
	if err != nil {
		return nil, fmt.Errorf("known host keys for %s: %w", t.name(), err)
	}
	lines, _ := hosts.keysOf(t.lookup())
	if hasKey(lines, pinned) {
		return nil, nil
	}
	var found []KnownKey
	for _, line := range lines {
		found = append(found, KnownKey{Type: line.key.Type(), Fingerprint: ssh.FingerprintSHA256(line.key), Source: line.source()})
	}
	return found, nil
}

// existing drops files that are not there, and stamps the others with all that
// changes when their content does.
func existing(files []string) (found []string, stamp string) {
	for _, f := range files {
		info, err := os.Stat(f)
		if isMissing(err) || f == os.DevNull {
			continue
		}
		found = append(found, f)
		if err == nil {
			stamp += fmt.Sprintf("%q %d %d\n", f, info.Size(), info.ModTime().UnixNano())
		}
	}
	return found, stamp
}

func isMissing(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func loadKnownHosts(files []string) (*knownHosts, error) {
	hosts := &knownHosts{}
	for _, file := range files {
		data, err := readKnownHosts(file)
		if err != nil {
			return nil, err
		}
		hosts.lines = append(hosts.lines, parseKnownHosts(file, data)...)
	}
	return hosts, nil
}

func readKnownHosts(file string) ([]byte, error) {
	f, err := openRegular(file)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", file, err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKnownHosts))
}

// hostLine is one line of a known_hosts file, or one key known otherwise.
type hostLine struct {
	file     string
	line     int // from 1; 0 when file is not a file but words
	marker   string
	patterns string // in lower case, unless hashed
	key      ssh.PublicKey
}

func (l hostLine) source() string {
	if l.line == 0 {
		return l.file
	}
	return fmt.Sprintf("%s:%d", l.file, l.line)
}

func (l hostLine) name() string {
	if strings.HasPrefix(l.patterns, "|") {
		return l.source()
	}
	return fmt.Sprintf("%s (%s)", printable(l.patterns, 80), l.source())
}

// parseKnownHosts returns the lines of data that mean something. A line that
// cannot be parsed is skipped, as ssh does.
func parseKnownHosts(file string, data []byte) (lines []hostLine) {
	for n, raw := range bytes.Split(data, []byte("\n")) {
		if l, ok := parseHostLine(raw); ok {
			l.file, l.line = file, n+1
			lines = append(lines, l)
		}
	}
	return lines
}

// parseHostLine parses one line: [marker] patterns type key [comment].
func parseHostLine(raw []byte) (l hostLine, ok bool) {
	fields := strings.Fields(string(bytes.TrimSuffix(raw, []byte("\r"))))
	if len(raw) > maxHostLine || len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
		return l, false
	}
	if strings.HasPrefix(fields[0], "@") {
		l.marker, fields = fields[0], fields[1:]
		if l.marker != markerAuthority && l.marker != markerRevoked {
			return l, false
		}
	}
	if len(fields) < 3 {
		return l, false
	}
	blob, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		return l, false
	}
	l.key, err = ssh.ParsePublicKey(blob)
	if err != nil || l.key.Type() != fields[1] {
		return l, false
	}
	l.patterns = fields[0]
	if !strings.HasPrefix(l.patterns, "|") {
		l.patterns = strings.ToLower(l.patterns)
	}
	return l, true
}

// matches tells whether the line is about the host that is looked up as name.
func (l hostLine) matches(name string) bool {
	if strings.HasPrefix(l.patterns, "|") {
		return isHashOf(l.patterns, name)
	}
	return matchList(name, l.patterns)
}

// isHashOf checks "|1|salt|hash".
func isHashOf(pattern, name string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	_, _ = mac.Write([]byte(name)) // never fails
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)) == parts[3]
}

// matchList reports whether s matches a comma-separated list of patterns, of
// which no negated one may match.
func matchList(s, list string) bool {
	matched := false
	for pattern := range strings.SplitSeq(list, ",") {
		bare, negated := strings.CutPrefix(pattern, "!")
		if bare == "" || !matchPattern(s, bare) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// matchPattern reports whether s matches a pattern of * and ?, in time
// proportional to their lengths.
func matchPattern(s, pattern string) bool {
	i, j, star, retry := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, retry = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			retry++
			i, j = retry, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}

// keysOf returns the lines with plain keys of a host, and the authorities that
// may vouch for it.
func (h *knownHosts) keysOf(name string) (plain, authorities []hostLine) {
	for _, l := range h.lines {
		switch {
		case l.marker == markerRevoked || !l.matches(name):
		case l.marker == markerAuthority:
			authorities = append(authorities, l)
		default:
			plain = append(plain, l)
		}
	}
	return plain, authorities
}

// revoked finds the line that revokes a key, the key in a certificate, or the
// authority that signed it.
func (h *knownHosts) revoked(key ssh.PublicKey) (hostLine, bool) {
	bad := []ssh.PublicKey{plainKey(key)}
	if cert, ok := key.(*ssh.Certificate); ok {
		bad = append(bad, plainKey(cert.SignatureKey))
	}
	i := slices.IndexFunc(h.lines, func(l hostLine) bool {
		return l.marker == markerRevoked &&
			slices.ContainsFunc(bad, func(k ssh.PublicKey) bool { return sameKey(plainKey(l.key), k) })
	})
	if i < 0 {
		return hostLine{}, false
	}
	return h.lines[i], true
}

// namesOf lists under which other names a key is known, a few of them.
func (h *knownHosts) namesOf(key ssh.PublicKey) []string {
	var names []string
	for _, l := range h.lines {
		if l.marker == "" && sameKey(l.key, key) && len(names) < 5 {
			names = append(names, l.name())
		}
	}
	return names
}

func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}
