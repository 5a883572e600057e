package remote

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

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
