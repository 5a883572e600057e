package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// Names become file names, container labels and arguments, so they are plain.
var (
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	flakeForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	userForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*\$?$`)
	hostForm  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)
)

func checkName(s string) error {
	switch {
	case strings.EqualFold(s, "all"):
		return fmt.Errorf("%q cannot be a name: it selects every host", s)
	case !nameForm.MatchString(s):
		return fmt.Errorf("%q cannot be a name: letters, digits, '.', '_' and '-' only, at most 63, beginning with a letter or digit", s)
	}
	return nil
}

func checkTag(s string) error {
	if !nameForm.MatchString(s) {
		return fmt.Errorf("%q cannot be a tag: letters, digits, '.', '_' and '-' only, beginning with a letter or digit", s)
	}
	return nil
}

func checkUser(s string) error {
	if !userForm.MatchString(s) {
		return fmt.Errorf("%q is not a user name", s)
	}
	return nil
}

func checkFlake(s string) error {
	if strings.Contains(s, "#") {
		return fmt.Errorf("%q: name the output only, the part after '#'", s)
	}
	if !flakeForm.MatchString(s) {
		return fmt.Errorf("%q is not the name of a flake output", s)
	}
	return nil
}

// checkAddress accepts a host name, an IPv4 or an IPv6 address without
// brackets, and says where user and port belong.
func checkAddress(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	switch {
	case strings.HasPrefix(s, "["):
		return fmt.Errorf("%q: write an IPv6 address without brackets, and the port as its own key", s)
	case strings.Contains(s, "@"):
		return fmt.Errorf("%q: write the user as its own key", s)
	case strings.Count(s, ":") == 1:
		return fmt.Errorf("%q: write the port as its own key", s)
	case len(s) > 253 || !hostForm.MatchString(s):
		return fmt.Errorf("%q is neither a host name nor an IP address", s)
	case digitsOnly(lastLabel(s)):
		return fmt.Errorf("%q is not an IPv4 address (four numbers from 0 to 255)", s)
	}
	return nil
}

// lastLabel is the top-level domain of a name. No such domain is a number, so
// a name that ends in one is a mistyped IPv4 address.
func lastLabel(s string) string {
	s = strings.TrimSuffix(s, ".")
	return s[strings.LastIndex(s, ".")+1:]
}

func digitsOnly(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// canonicalAddress is the form in which two spellings of an address compare.
func canonicalAddress(s string) string {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

// tidyAddress writes an IP address in its usual form and leaves names alone.
func tidyAddress(s string) string {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.String()
	}
	return s
}

// checkPlain accepts any text on one line.
func checkPlain(s string) error {
	if strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return fmt.Errorf("%q contains a control character or line break", s)
	}
	return nil
}

// canonicalHostKey checks one public host key and drops its comment.
func canonicalHostKey(s string) (string, error) {
	if strings.ContainsAny(s, "\r\n") {
		return "", errors.New("must be one line: type and base64 text")
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil || len(options) > 0 {
		return "", fmt.Errorf("%q is not a public key such as \"ssh-ed25519 AAAA…\"", abbreviate(s))
	}
	return key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal()), nil
}

func abbreviate(s string) string {
	if runes := []rune(s); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	return s
}
