package remote

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// maxKnownHosts bounds, in bytes, what is read of one known_hosts file.
const maxKnownHosts = 64 << 20

// knownHosts is what the known_hosts files say. It does not change once loaded.
type knownHosts struct {
	match ssh.HostKeyCallback
	lines []hostLine
	at    map[string]int // "file:line" of the clean copy -> index in lines
}

// userKnownHosts are the files of t to look up, and to record in, first to last.
func (d *Dialer) userKnownHosts(t Target) []string {
	if len(t.KnownHosts) == 0 {
		return []string{d.expand("~/.ssh/known_hosts"), d.expand("~/.ssh/known_hosts2")}
	}
	files := make([]string, len(t.KnownHosts))
	for i, f := range t.KnownHosts {
		files[i] = d.expand(f)
	}
	return files
}

func (d *Dialer) knownHosts(t Target) (*knownHosts, error) {
	files := d.userKnownHosts(t)
	if len(t.GlobalKnownHosts) == 0 {
		files = append(files, "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
	}
	for _, f := range t.GlobalKnownHosts {
		files = append(files, d.expand(f))
	}
	files, stamp := existing(files)

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

// existing drops files that are not there, and stamps the others with all that
// changes when their content does.
func existing(files []string) (found []string, stamp string) {
	for _, f := range files {
		info, err := os.Stat(f)
		if isMissing(err) || f == "none" || f == os.DevNull {
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

// loadKnownHosts parses files. The parser fails on the first line that it does
// not understand, where ssh skips it; so it gets copies without such lines.
func loadKnownHosts(files []string) (*knownHosts, error) {
	folder, err := os.MkdirTemp("", "known_hosts-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	hosts := &knownHosts{at: make(map[string]int)}
	var copies []string
	for i, file := range files {
		data, err := readKnownHosts(file)
		if err != nil {
			return nil, err
		}
		clean, lines := parseKnownHosts(file, data)
		name := filepath.Join(folder, strconv.Itoa(i))
		if err := os.WriteFile(name, clean, 0o600); err != nil {
			return nil, err
		}
		copies = append(copies, name)
		for _, l := range lines {
			hosts.at[fmt.Sprintf("%s:%d", name, l.line)] = len(hosts.lines)
			hosts.lines = append(hosts.lines, l)
		}
	}
	db, err := knownhosts.NewDB(copies...)
	if err != nil {
		return nil, err
	}
	hosts.match = db.HostKeyCallback()
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

const (
	markerAuthority = "@cert-authority"
	markerRevoked   = "@revoked"

	// maxHostLine is the longest line, in bytes, that the parser takes.
	maxHostLine = 60 << 10
)

// hostLine is one line of a known_hosts file, or one key known otherwise.
type hostLine struct {
	file     string
	line     int // from 1; 0 when file is not a file but words
	marker   string
	patterns string
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

// parseKnownHosts returns the lines of data that mean something, and a copy of
// data in which all others are empty and names are in lower case.
func parseKnownHosts(file string, data []byte) (clean []byte, lines []hostLine) {
	var out bytes.Buffer
	for n, raw := range bytes.Split(data, []byte("\n")) {
		if l, ok := parseHostLine(raw); ok {
			l.file, l.line = file, n+1
			lines = append(lines, l)
			fmt.Fprintf(&out, "%s %s %s %s", l.marker, l.patterns, l.key.Type(), base64.StdEncoding.EncodeToString(l.key.Marshal()))
		}
		out.WriteByte('\n')
	}
	return out.Bytes(), lines
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
	l.patterns, ok = normalPatterns(fields[0])
	return l, ok
}

// normalPatterns checks host patterns, and lowers their case as ssh does.
func normalPatterns(patterns string) (string, bool) {
	if strings.HasPrefix(patterns, "|") {
		return patterns, isHashed(patterns)
	}
	if strings.HasPrefix(patterns, "@") || strings.HasPrefix(patterns, "#") {
		return "", false
	}
	for p := range strings.SplitSeq(patterns, ",") {
		bare := strings.TrimPrefix(p, "!")
		if bare == "" && p != "" {
			return "", false
		}
		if _, _, err := net.SplitHostPort(bare); strings.HasPrefix(bare, "[") && err != nil {
			return "", false
		}
	}
	return strings.ToLower(patterns), true
}

// isHashed checks "|1|salt|hash".
func isHashed(pattern string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	_, saltErr := base64.StdEncoding.DecodeString(parts[2])
	_, hashErr := base64.StdEncoding.DecodeString(parts[3])
	return saltErr == nil && hashErr == nil
}

// keysOf returns the lines with plain keys of a host, and whether an authority
// vouches for it.
func (h *knownHosts) keysOf(lookup string) (plain []hostLine, byAuthority bool) {
	var all *xknownhosts.KeyError
	if err := h.match(lookup, nowhere, noKey{}); !errors.As(err, &all) {
		return nil, false
	}
	for _, k := range all.Want {
		i, ok := h.at[fmt.Sprintf("%s:%d", k.Filename, k.Line)]
		switch {
		case !ok:
		case h.lines[i].marker == markerAuthority:
			byAuthority = true
		default:
			plain = append(plain, h.lines[i])
		}
	}
	return plain, byAuthority
}

// certified tells whether key is a valid certificate, for this host, of an
// authority in known_hosts.
func (h *knownHosts) certified(lookup string, key ssh.PublicKey) bool {
	_, isCert := key.(*ssh.Certificate)
	return isCert && h.match(lookup, nowhere, key) == nil
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

// nowhere stands for the server's address, which known_hosts is not asked about.
var nowhere net.Addr = &net.TCPAddr{IP: net.IPv4zero}

// noKey matches no line, so that the answer lists all lines for a host.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("not a key") }

// recordName is how known_hosts writes t: host, or [host]:port off the default port.
func recordName(t Target) string { return knownhosts.Normalize(t.lookup()) }
