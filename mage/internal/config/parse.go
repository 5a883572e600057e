package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds how many YAML nodes are looked at, aliases followed: a file
// of a few lines can otherwise stand for billions.
const maxNodes = 100_000

// Parse reads the text of a vps.yaml; name is what messages call the file.
// Everything is strict: an unknown key, a wrong type, a duplicate, a value that
// cannot be right. All problems are reported, joined, each a [*ParseError].
// Anchors, aliases and merge keys work; an empty file is the default.
func Parse(name string, data []byte) (*Config, error) {
	cfg := Default()
	p := &parser{file: name, budget: maxNodes, merging: map[*yaml.Node]bool{}}
	root := p.document(data)
	if root != nil && !isNull(root) {
		p.root(cfg, root)
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return cfg, nil
}

// parser collects problems instead of stopping at the first.
type parser struct {
	file    string
	errs    []error
	budget  int // nodes left to look at
	merging map[*yaml.Node]bool
}

func (p *parser) failLine(line int, format string, args ...any) {
	p.errs = append(p.errs, &ParseError{File: p.file, Line: line, Problem: fmt.Sprintf(format, args...)})
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	p.failLine(n.Line, format, args...)
}

// document turns text into the single YAML document in it; nil when there is
// none or it is broken.
func (p *parser) document(data []byte) *yaml.Node {
	if len(data) > maxFileSize {
		p.failLine(0, "larger than %d bytes", maxFileSize)
		return nil
	}
	if line, problem := badText(data); problem != "" {
		p.failLine(line, "%s", problem)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		p.syntax(data, err)
		return nil
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		p.fail(&more, "a second document; one file holds one document")
	case !errors.Is(err, io.EOF):
		p.syntax(data, err)
	}
	return doc.Content[0]
}

// badText finds what is not plain text before the YAML reader does, because
// that one names no line.
func badText(data []byte) (line int, problem string) {
	line = 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			return line, fmt.Sprintf("not UTF-8 text: byte %#x", rest[0])
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			return line, fmt.Sprintf("control character %q", r)
		case r == '\n':
			line++
		}
		rest = rest[size:]
	}
	return 0, ""
}

// syntax reports what the YAML reader did not understand, by its line.
func (p *parser) syntax(data []byte, err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		p.failLine(line, "not valid YAML: %s", m[2])
		return
	}
	line := 0
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		if i := bytes.Index(data, []byte("*"+m[1])); i >= 0 {
			line = 1 + bytes.Count(data[:i], []byte("\n"))
		}
	}
	p.failLine(line, "not valid YAML: %s", text)
}

var (
	yamlLine   = regexp.MustCompile(`^line (\d+): (.*)$`)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '([^']+)'`)
)

func (p *parser) root(cfg *Config, n *yaml.Node) {
	p.fields(n, "", map[string]func(*yaml.Node){
		"hosts":   func(v *yaml.Node) { cfg.Hosts = p.hosts(v) },
		"nix":     func(v *yaml.Node) { p.nix(&cfg.Nix, v) },
		"install": func(v *yaml.Node) { p.install(&cfg.Install, v) },
		"signers": func(v *yaml.Node) { cfg.Signers = p.checked(v, "signers", checkInProject) },
	})
}

// pair is one key of a mapping with its value, aliases resolved.
type pair struct {
	key   *yaml.Node
	value *yaml.Node
}

// resolve follows an alias and counts the node. It returns nil when the file
// stands for more nodes than any real one.
func (p *parser) resolve(n *yaml.Node) *yaml.Node {
	p.budget--
	if p.budget <= 0 {
		if p.budget == 0 {
			p.fail(n, "too large when its aliases are followed")
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// mapping lists the pairs of a mapping in file order and reports duplicates.
// A null is an empty mapping. Pairs of merge keys come last, and only those
// that the mapping does not have itself.
func (p *parser) mapping(n *yaml.Node, what string) []pair {
	n = p.resolve(n)
	if n == nil || isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%smust be a mapping of keys to values, not %s", label(what), kindOf(n))
		return nil
	}
	var pairs []pair
	var merges []*yaml.Node
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := p.resolve(n.Content[i])
		switch {
		case key == nil:
			return nil
		case key.ShortTag() == "!!merge":
			merges = append(merges, n.Content[i+1])
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			p.fail(n.Content[i], "%skey must be text, not %s; put it in quotes", label(what), kindOf(key))
		case lines[key.Value] != 0:
			p.fail(n.Content[i], "%sduplicate %q, first on line %d", label(what), key.Value, lines[key.Value])
		default:
			lines[key.Value] = n.Content[i].Line
			pairs = append(pairs, pair{n.Content[i], n.Content[i+1]})
		}
	}
	return p.merge(n, what, pairs, merges)
}

// merge adds what `<<` brings in. A mapping that merges itself is an error.
func (p *parser) merge(n *yaml.Node, what string, pairs []pair, sources []*yaml.Node) []pair {
	if p.merging[n] {
		p.fail(n, "%sa merge key (<<) that contains itself", label(what))
		return nil
	}
	p.merging[n] = true
	defer delete(p.merging, n)
	have := map[string]bool{}
	for _, own := range pairs {
		have[p.keyText(own)] = true
	}
	for _, source := range sources {
		for _, one := range p.mergeSources(source) {
			for _, merged := range p.mapping(one, what) {
				if key := p.keyText(merged); !have[key] {
					have[key] = true
					pairs = append(pairs, merged)
				}
			}
		}
	}
	return pairs
}

// mergeSources lists what a merge key names: one mapping or a list of them.
func (p *parser) mergeSources(n *yaml.Node) []*yaml.Node {
	target := p.resolve(n)
	if target != nil && target.Kind == yaml.SequenceNode {
		return target.Content
	}
	return []*yaml.Node{n}
}

func (p *parser) keyText(kv pair) string {
	if kv.key.Kind == yaml.AliasNode {
		return kv.key.Alias.Value
	}
	return kv.key.Value
}

// fields hands each value of a mapping to the reader of its key.
func (p *parser) fields(n *yaml.Node, what string, readers map[string]func(*yaml.Node)) {
	for _, kv := range p.mapping(n, what) {
		key := p.keyText(kv)
		if read, ok := readers[key]; ok {
			read(kv.value)
			continue
		}
		known := slices.Sorted(maps.Keys(readers))
		if near := closest(key, known); near != "" {
			p.fail(kv.key, "%sunknown key %q; did you mean %q?", label(what), key, near)
			continue
		}
		p.fail(kv.key, "%sunknown key %q; known keys: %s", label(what), key, shorten(known, 20))
	}
}

// text reads a non-empty string. What YAML takes for a number, a boolean or a
// date is not text: 1.10 would otherwise come back as 1.1.
func (p *parser) text(n *yaml.Node, what string) (string, bool) {
	v := p.resolve(n)
	switch {
	case v == nil:
		return "", false
	case isNull(v) || v.Kind == yaml.ScalarNode && v.Value == "":
		p.fail(n, "%sempty; give it a value or remove the line", label(what))
	case v.Kind != yaml.ScalarNode:
		p.fail(n, "%smust be text, not %s", label(what), kindOf(v))
	case v.ShortTag() != "!!str":
		p.fail(n, "%smust be text, but YAML reads %q as %s; put it in quotes", label(what), v.Value, kindOf(v))
	default:
		return v.Value, true
	}
	return "", false
}

// checked reads text that must pass check.
func (p *parser) checked(n *yaml.Node, what string, check func(string) error) string {
	s, ok := p.text(n, what)
	if !ok {
		return ""
	}
	if err := check(s); err != nil {
		p.fail(n, "%s%v", label(what), err)
		return ""
	}
	return s
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// label prefixes a message with the place in the file, if there is one.
func label(what string) string {
	if what == "" {
		return ""
	}
	return what + ": "
}

// kindOf names what YAML made of a value in a person's words.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "a date"
	case "!!str":
		return "text"
	}
	return "a value tagged " + n.ShortTag()
}
