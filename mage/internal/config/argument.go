package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// literal is one item of an argument: [user@]host[:port].
type literal struct {
	host string // name, alias or address, without brackets
	user string
	port int // 0: not given
}

// name is what messages call a host that vps.yaml does not list: without the
// user, but with a port that was given, since one address can have several.
func (l literal) name() string {
	if l.port == 0 {
		return l.host
	}
	return net.JoinHostPort(l.host, strconv.Itoa(l.port))
}

// splitItems divides an argument at its commas.
func splitItems(arg string) ([]string, error) {
	if strings.TrimSpace(arg) == "" {
		return nil, &ArgumentError{Arg: arg, Problem: "is empty", Next: next.Words("name a host, @tag or all")}
	}
	items := strings.Split(arg, ",")
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
		switch {
		case items[i] == "":
			return nil, &ArgumentError{Arg: arg, Problem: "has an empty item between its commas", Next: next.Words("write the hosts as a,b,c")}
		case strings.HasPrefix(items[i], "-"):
			return nil, flagError(items[i])
		}
	}
	return items, nil
}

func flagError(item string) error {
	name, value, ok := strings.Cut(strings.TrimLeft(item, "-"), "=")
	if !ok {
		value = "VALUE"
	}
	return &ArgumentError{
		Arg:     item,
		Problem: "looks like a flag, but stands where a host belongs",
		Next:    next.Say("write flags after the host, as -%s=%s", name, value),
	}
}

// parseLiteral reads [user@]host[:port]. An IPv6 address needs brackets only
// in front of a port.
func parseLiteral(item string) (literal, error) {
	var l literal
	bad := func(format string, args ...any) (literal, error) {
		return literal{}, &ArgumentError{
			Arg:     item,
			Problem: fmt.Sprintf(format, args...),
			Next:    next.Words("write a name of vps.yaml, an alias of ssh_config, or [user@]address[:port]"),
		}
	}
	if strings.Contains(item, "://") {
		return bad("is a URL")
	}
	rest := item
	if i := strings.LastIndexByte(item, '@'); i >= 0 {
		l.user, rest = item[:i], item[i+1:]
		if err := checkUser(l.user); err != nil {
			return bad("%v", err)
		}
	}
	host, port, err := splitPort(rest)
	if err != nil {
		return bad("%v", err)
	}
	l.host, l.port = host, port
	if isAddress(l.host) {
		l.host = tidyAddress(l.host)
		return l, nil
	}
	// A mistyped IPv4 address passes here: "web.1" may be an alias.
	if !hostForm.MatchString(l.host) {
		return bad("%q is neither a host name nor an IP address", l.host)
	}
	return l, nil
}

// splitPort divides host[:port]; the port is 0 when there is none.
func splitPort(s string) (host string, port int, err error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, 0, nil
	}
	digits := ""
	switch inner, after, closed := strings.Cut(strings.TrimPrefix(s, "["), "]"); {
	case strings.HasPrefix(s, "["):
		ip, err := netip.ParseAddr(inner)
		if err != nil || !closed || !ip.Is6() {
			return "", 0, fmt.Errorf("%q: brackets hold an IPv6 address", s)
		}
		if after == "" {
			return inner, 0, nil
		}
		if !strings.HasPrefix(after, ":") {
			return "", 0, fmt.Errorf("%q: only :port can follow the brackets", s)
		}
		host, digits = inner, after[1:]
	case strings.Count(s, ":") > 1:
		return "", 0, fmt.Errorf("%q is not an IPv6 address; with a port write [address]:port", s)
	case strings.Contains(s, ":"):
		host, digits, _ = strings.Cut(s, ":")
	default:
		return s, 0, nil
	}
	port, err = parsePort(digits)
	return host, port, err
}

// closest finds the candidate most like word, or "" when none is alike: one
// edit for short words, up to a third of the letters for long ones.
func closest(word string, candidates []string) string {
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// editDistance counts the single-letter insertions, deletions, substitutions
// and swaps of neighbours between a and b. Long words count as wholly
// different: nothing that long is a typing error of a name.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before []int // the row before previous
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			row[j+1] = min(previous[j+1]+1, row[j]+1, previous[j]+different(a[i], b[j]))
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, previous = previous, row
	}
	return previous[len(b)]
}

func different(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
