package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// hosts reads the hosts section and what must hold between hosts.
func (p *parser) hosts(n *yaml.Node) []HostEntry {
	var hosts []HostEntry
	for _, kv := range p.mapping(n, "hosts") {
		name := p.keyText(kv)
		if err := checkName(name); err != nil {
			p.fail(kv.key, "hosts: %v", err)
			continue
		}
		hosts = append(hosts, p.host(name, kv))
	}
	p.distinct(hosts)
	return hosts
}

func (p *parser) host(name string, kv pair) HostEntry {
	h := HostEntry{Name: name, Line: kv.key.Line}
	at := func(key string) string { return name + "." + key }
	text := func(into *string, key string, check func(string) error) func(*yaml.Node) {
		return func(v *yaml.Node) { *into = p.checked(v, at(key), check) }
	}
	p.fields(kv.value, name, map[string]func(*yaml.Node){
		"address":  text(&h.Address, "address", checkAddress),
		"port":     func(v *yaml.Node) { h.Port = p.port(v, at("port")) },
		"user":     text(&h.User, "user", checkUser),
		"identity": text(&h.Identity, "identity", checkPlain),
		"system":   text(&h.System, "system", oneOf("x86", "arm")),
		"flake":    text(&h.Flake, "flake", checkFlake),
		"tags":     func(v *yaml.Node) { h.Tags = p.tags(v, at("tags")) },
		"ageKey":   text(&h.AgeKey, "ageKey", oneOf("own", "shared")),
		"hostKey":  func(v *yaml.Node) { h.HostKey = p.hostKey(v, at("hostKey")) },
	})
	if ip, err := netip.ParseAddr(name); err == nil && h.Address != "" && h.Address != ip.String() {
		p.fail(kv.key, "hosts: the name %q is the address of another machine than %q", name, h.Address)
	}
	return h
}

// distinct refuses two names for one machine: both would be updated at once,
// and a pinned key would be checked under one of them only.
func (p *parser) distinct(hosts []HostEntry) {
	type endpoint struct {
		address string
		port    int
	}
	first := map[endpoint]HostEntry{}
	for _, h := range hosts {
		at := endpoint{canonicalAddress(h.Address), h.Port}
		if h.Address == "" {
			continue
		}
		if other, ok := first[at]; ok {
			p.failLine(h.Line, "%s: the same address and port as %q on line %d: %q", h.Name, other.Name, other.Line, h.Address)
			continue
		}
		first[at] = h
	}
}

func (p *parser) port(n *yaml.Node, what string) int {
	v := p.resolve(n)
	if v == nil {
		return 0
	}
	if v.Kind != yaml.ScalarNode || v.ShortTag() != "!!int" {
		p.fail(n, "%smust be a number from 1 to 65535, not %s %s", label(what), kindOf(v), quoted(v))
		return 0
	}
	port, err := parsePort(v.Value)
	if err != nil {
		p.fail(n, "%s%v", label(what), err)
	}
	return port
}

func quoted(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return strconv.Quote(n.Value)
}

func (p *parser) tags(n *yaml.Node, what string) []string {
	v := p.resolve(n)
	if v == nil {
		return nil
	}
	if v.Kind != yaml.SequenceNode {
		p.fail(n, "%smust be a list such as [prod, web], not %s %s", label(what), kindOf(v), quoted(v))
		return nil
	}
	tags := make([]string, 0, len(v.Content))
	for _, item := range v.Content {
		tag := p.checked(item, what, checkTag)
		if tag == "" {
			continue
		}
		if before := len(tags); len(appendNew(tags, tag)) == before {
			p.fail(item, "%sduplicate %q", label(what), tag)
			continue
		}
		tags = append(tags, tag)
	}
	return tags
}

// hostKey reads a pinned key and drops its comment.
func (p *parser) hostKey(n *yaml.Node, what string) string {
	s, ok := p.text(n, what)
	if !ok {
		return ""
	}
	key, err := canonicalHostKey(s)
	if err != nil {
		p.fail(n, "%s%v", label(what), err)
	}
	return key
}

func oneOf(allowed ...string) func(string) error {
	return func(s string) error {
		for _, a := range allowed {
			if s == a {
				return nil
			}
		}
		return fmt.Errorf("%q is not one of %s", s, shorten(allowed, len(allowed)))
	}
}

func parsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not a port (1 to 65535)", s)
	}
	return int(port), nil
}

// nix reads the folder with flake.nix.
func (p *parser) nix(to *string, n *yaml.Node) {
	if folder := p.checked(n, "nix", checkFolder); folder != "" {
		*to = folder
	}
}

// checkFolder takes a folder of the project that can be deployed.
func checkFolder(s string) error {
	first, _, _ := strings.Cut(s, "/")
	switch {
	case !fs.ValidPath(s):
		return fmt.Errorf("%q is not a folder in the project, such as nix, or . for the project itself", s)
	case first == ".git" || first == ".vps" || first == "secrets":
		return fmt.Errorf("%q is not deployed as a flake", s)
	}
	return nil
}

func (p *parser) install(in *Install, n *yaml.Node) {
	p.fields(n, "install", map[string]func(*yaml.Node){
		"image": func(v *yaml.Node) {
			in.Image = p.checked(v, "install.image", checkImage)
		},
		"engine": func(v *yaml.Node) {
			in.Engine = p.checked(v, "install.engine", oneOf("docker", "podman"))
		},
		"network": func(v *yaml.Node) {
			in.Network = p.checked(v, "install.network", checkNetwork)
		},
		"kexec":     func(v *yaml.Node) { in.Kexec = p.kexec(v) },
		"deadlines": func(v *yaml.Node) { in.Deadlines = p.deadlines(v) },
		"diskKeys":  func(v *yaml.Node) { in.DiskKeys = p.diskKeys(v) },
	})
}

func (p *parser) kexec(n *yaml.Node) *Kexec {
	var k Kexec
	before := len(p.errs)
	p.fields(n, "install.kexec", map[string]func(*yaml.Node){
		"url":    func(v *yaml.Node) { k.URL = p.checked(v, "install.kexec.url", checkURL) },
		"sha256": func(v *yaml.Node) { k.SHA256 = strings.ToLower(p.checked(v, "install.kexec.sha256", checkSHA256)) },
	})
	if len(p.errs) == before && (k.URL == "" || k.SHA256 == "") {
		p.fail(n, "install.kexec: needs both url and sha256: what a server boots is never taken unchecked")
	}
	return &k
}

func (p *parser) deadlines(n *yaml.Node) map[string]time.Duration {
	deadlines := map[string]time.Duration{}
	for _, kv := range p.mapping(n, "install.deadlines") {
		phase := p.keyText(kv)
		what := "install.deadlines." + phase
		if err := checkTag(phase); err != nil {
			p.fail(kv.key, "install.deadlines: %q is not the name of a phase", phase)
			continue
		}
		if d, ok := p.duration(kv.value, what); ok {
			deadlines[phase] = d
		}
	}
	return deadlines
}

func (p *parser) diskKeys(n *yaml.Node) map[string]string {
	keys := map[string]string{}
	for _, kv := range p.mapping(n, "install.diskKeys") {
		file := p.keyText(kv)
		if !strings.HasPrefix(file, "/") {
			p.fail(kv.key, "install.diskKeys: %q is not the absolute path of a file in the installer", file)
			continue
		}
		if name := p.checked(kv.value, "install.diskKeys."+file, checkSecretName); name != "" {
			keys[file] = name
		}
	}
	return keys
}

func checkSecretName(s string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' }) {
		return fmt.Errorf("%q is not the name of a secret", s)
	}
	return nil
}

func (p *parser) duration(n *yaml.Node, what string) (time.Duration, bool) {
	v := p.resolve(n)
	if v == nil {
		return 0, false
	}
	d, err := time.ParseDuration(v.Value)
	if v.Kind != yaml.ScalarNode || err != nil || d <= 0 {
		p.fail(n, "%smust be a duration above zero such as 90s or 20m, not %s", label(what), describe(v))
		return 0, false
	}
	return d, true
}

func describe(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		return strconv.Quote(n.Value)
	}
	return kindOf(n)
}

// nixTag finds Nix's version in the tag of its official image.
var nixTag = regexp.MustCompile(`^(?:docker\.io/)?nixos/nix:v?(\d+)\.(\d+)`)

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func checkImage(s string) error {
	if strings.HasPrefix(s, "-") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%q is not the name of a container image", s)
	}
	if _, digest, ok := strings.Cut(s, "@"); ok && !digestForm.MatchString(digest) {
		return fmt.Errorf("%q: a digest is sha256: and 64 hexadecimal digits", s)
	}
	m := nixTag.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < 2 || major == 2 && minor < 30 {
		return fmt.Errorf("%q is too old: the installer needs Nix 2.30 or newer", s)
	}
	return nil
}

// networkForm is a network's name, or a kind of network and its options, as the
// engines' --network takes it.
var networkForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:=,-]*$`)

func checkInProject(s string) error {
	if !filepath.IsLocal(filepath.FromSlash(s)) {
		return fmt.Errorf("%q is not the path of a file in the project", s)
	}
	return nil
}

func checkNetwork(s string) error {
	switch {
	case s == "none":
		return errors.New("a container without a network reaches no server")
	case !networkForm.MatchString(s):
		return fmt.Errorf("%q is not the name of a container network", s)
	}
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsAny(s, " '\"\\`$") {
		return fmt.Errorf("%q is not an http or https URL", s)
	}
	if u.User != nil {
		return errors.New("a URL with a password would end in logs; put the image where none is needed")
	}
	return nil
}

var sha256Form = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

func checkSHA256(s string) error {
	if !sha256Form.MatchString(s) {
		return fmt.Errorf("%q is not 64 hexadecimal digits", s)
	}
	return nil
}
