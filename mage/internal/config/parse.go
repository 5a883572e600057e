package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
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
		"install": func(v *yaml.Node) { p.install(&cfg.Install, v) },
	})
}
