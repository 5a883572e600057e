package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// answer is what `ssh -G` prints of the keywords that count here.
type answer struct {
	hostName         string
	user             string
	port             int
	identities       []string // ssh's own list where none is configured
	identitiesOnly   bool
	identityAgent    string
	hostKeyAlias     string
	knownHosts       []string
	globalKnownHosts []string
	proxyJump        string
	proxyCommand     string
}

var errNotSSH = errors.New("its answer to -G names no hostname, user and port: not OpenSSH?")

// parseAnswer reads the lines "keyword value" that `ssh -G` prints. Keywords
// that do not count here are skipped: every release adds some.
func parseAnswer(out []byte) (answer, error) {
	var a answer
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		keyword, value, _ := strings.Cut(strings.TrimRight(lines.Text(), "\r"), " ")
		if err := checkPlain(value); err != nil {
			return answer{}, fmt.Errorf("%s: %w", keyword, err)
		}
		if err := a.take(strings.ToLower(keyword), value); err != nil {
			return answer{}, err
		}
	}
	if err := lines.Err(); err != nil {
		return answer{}, fmt.Errorf("its answer to -G: %w", err)
	}
	if a.hostName == "" || a.user == "" || a.port == 0 {
		return answer{}, errNotSSH
	}
	return a, nil
}

func (a *answer) take(keyword, value string) (err error) {
	switch keyword {
	case "hostname":
		a.hostName = value
	case "user":
		a.user = value
	case "port":
		a.port, err = parsePort(value)
	case "identityfile":
		a.identities = append(a.identities, value)
	case "identitiesonly":
		a.identitiesOnly = value == "yes"
	case "identityagent":
		a.identityAgent = value
	case "hostkeyalias":
		a.hostKeyAlias = value
	case "userknownhostsfile":
		a.knownHosts = splitPaths(value)
	case "globalknownhostsfile":
		a.globalKnownHosts = splitPaths(value)
	case "proxyjump":
		a.proxyJump = unlessNone(value)
	case "proxycommand":
		a.proxyCommand = unlessNone(value)
	}
	return err
}

func unlessNone(s string) string {
	if strings.EqualFold(s, "none") {
		return ""
	}
	return s
}

// splitPaths divides a list of paths that `ssh -G` joined by spaces without
// quoting. A word that does not begin like a path belongs to the one before
// it, which had a space in its name.
func splitPaths(s string) []string {
	paths := []string{}
	if strings.EqualFold(s, "none") {
		return paths
	}
	for i, word := range strings.Split(s, " ") {
		if i == 0 || word != "" && strings.ContainsRune("/~%$", rune(word[0])) {
			paths = append(paths, word)
			continue
		}
		paths[len(paths)-1] += " " + word
	}
	return paths
}

// isAddress reports a literal IP address, with or without a zone.
func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
