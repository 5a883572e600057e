package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/google/renameio/v2"
	"go.yaml.in/yaml/v3"
)

// PinError is a host key that could not be written into vps.yaml. The file is
// as it was.
type PinError struct {
	Path string
	Host string
	Key  string // "type base64", or what was given when it is not a key
	Err  error
}

func (e *PinError) Error() string {
	return fmt.Sprintf("pinning the key of host %q in %s: %v", e.Host, e.Path, e.Err)
}

// Unwrap gives the cause.
func (e *PinError) Unwrap() error { return e.Err }

// NextStep says what to do next.
func (e *PinError) NextStep() next.Step {
	if errors.Is(e.Err, ErrNotListed) {
		return next.Say("list %q under hosts: in %s, with hostKey: %s", e.Host, e.Path, e.Key)
	}
	return next.Say("pin it by hand: below %q in %s write the line hostKey: %s", e.Host, e.Path, e.Key)
}

// ErrNotListed is wrapped by [PinHostKey] when vps.yaml does not list the host.
var ErrNotListed = errors.New("the host is not listed there")

var errByHand = errors.New("it is written in a way that is not safe to edit automatically")

// PinHostKey writes a host's public key into the vps.yaml at path and leaves
// every other byte of the file alone. A comment behind the key is dropped. The
// file is replaced in one step, keeps its mode, and stays where a symlink
// points; with the same key already there nothing is written. Errors are
// [*PinError].
func PinHostKey(path, host, key string) error {
	canonical, err := canonicalHostKey(key)
	if err != nil {
		return &PinError{Path: path, Host: host, Key: key, Err: err}
	}
	if err := pin(path, host, canonical); err != nil {
		return &PinError{Path: path, Host: host, Key: canonical, Err: err}
	}
	return nil
}

func pin(path, host, key string) error {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no %s", ErrNotListed, path)
	}
	if err != nil {
		return err
	}
	unlock, err := lockDir(filepath.Dir(target))
	if err != nil {
		return err
	}
	defer unlock()
	before, err := readLimited(target)
	if err != nil {
		return err
	}
	after, err := pinned(path, before, host, key)
	if err != nil || after == nil {
		return err
	}
	return renameio.WriteFile(target, after, 0o644, renameio.WithExistingPermissions())
}

// lockDir keeps two bootstraps that pin at the same moment from losing one of
// the keys. The folder itself is locked, so no lock file is left behind.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		d.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

// pinned returns the new text of the file, or nil when it holds key already.
// The edit is made on the text; parsing the result proves that it changed the
// one key and nothing else.
func pinned(name string, before []byte, host, key string) ([]byte, error) {
	cfg, err := Parse(name, before)
	if err != nil {
		return nil, err
	}
	entry := cfg.Lookup(host)
	if entry == nil {
		return nil, ErrNotListed
	}
	if entry.HostKey == key {
		return nil, nil
	}
	after, err := editHostKey(before, host, key)
	if err != nil {
		return nil, err
	}
	got, err := Parse(name, after)
	if err != nil {
		return nil, errByHand
	}
	entry.HostKey = key
	for i := range got.Hosts { // lines below the edit may have moved by one
		if i < len(cfg.Hosts) {
			got.Hosts[i].Line = cfg.Hosts[i].Line
		}
	}
	if !reflect.DeepEqual(cfg, got) {
		return nil, errByHand
	}
	return after, nil
}

// editHostKey changes or adds the hostKey of a host in the text of a vps.yaml
// that parses. What it cannot find its way in is errByHand.
func editHostKey(text []byte, host, key string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return nil, errByHand
	}
	_, hosts := child(doc.Content[0], "hosts")
	name, entry := child(hosts, host)
	if entry == nil {
		return nil, errByHand // it comes from a merge key
	}
	if strings.ContainsAny(strings.ReplaceAll(string(text), "\r\n", "\n"), "\r\u0085\u2028\u2029") {
		return nil, errByHand // YAML counts other lines than we do
	}
	lines := splitLines(text)
	newLine := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		newLine = "\r\n"
	}
	e := editor{lines: lines, newLine: newLine}
	var ok bool
	switch keyNode, old := child(entry, "hostKey"); {
	case old != nil:
		ok = e.replace(keyNode, old, key)
	case isNull(entry) && entry.Value == "":
		ok = e.insertBelow(name.Line, indentOf(lines, name)+stepOf(hosts, name), key)
	case entry.Kind != yaml.MappingNode:
	case entry.Style&yaml.FlowStyle != 0:
		ok = e.insertInFlow(entry, key)
	default:
		ok = e.insertBelow(e.endOf(entry), indentOf(lines, entry.Content[0]), key)
	}
	if !ok {
		return nil, errByHand
	}
	return []byte(strings.Join(e.lines, "")), nil
}

// child finds a key of a mapping that is written there, not aliased.
func child(n *yaml.Node, key string) (keyNode, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// splitLines keeps the line ends, so that joining gives the text back.
func splitLines(text []byte) []string {
	var lines []string
	for line := range strings.Lines(string(text)) {
		lines = append(lines, line)
	}
	return lines
}

// indentOf is the number of blanks before the node's line.
func indentOf(lines []string, n *yaml.Node) int {
	line := lines[n.Line-1]
	return len(line) - len(strings.TrimLeft(line, " "))
}

// stepOf guesses how far the file indents: as far as the name is indented, two
// when it is not.
func stepOf(hosts, name *yaml.Node) int {
	if hosts.Style&yaml.FlowStyle != 0 || name.Column < 2 {
		return 2
	}
	return name.Column - 1
}

// editor edits lines; lines are counted from 1, as YAML nodes count them.
type editor struct {
	lines   []string
	newLine string
}

// replace puts key where the old value stands on its line, a comment behind it
// stays.
func (e *editor) replace(keyNode, old *yaml.Node, key string) bool {
	if old.Kind != yaml.ScalarNode || old.Line != keyNode.Line || old.Anchor != "" || old.Value == "" {
		return false
	}
	line := e.lines[old.Line-1]
	for _, written := range []string{old.Value, `"` + old.Value + `"`, "'" + old.Value + "'"} {
		at := byteOffset(line, old.Column-1)
		if strings.HasPrefix(line[at:], written) {
			e.lines[old.Line-1] = line[:at] + key + line[at+len(written):]
			return true
		}
	}
	return false
}

// byteOffset turns a column, which counts characters, into an offset.
func byteOffset(line string, column int) int {
	for at := range line {
		if column == 0 {
			return at
		}
		column--
	}
	return len(line)
}

// insertBelow adds a line behind the given one.
func (e *editor) insertBelow(line, indent int, key string) bool {
	at := line - 1
	if !strings.HasSuffix(e.lines[at], "\n") {
		e.lines[at] += e.newLine
	}
	added := strings.Repeat(" ", indent) + "hostKey: " + key + e.newLine
	e.lines = append(e.lines[:line], append([]string{added}, e.lines[line:]...)...)
	return true
}

// insertInFlow adds the key as the first of {…}.
func (e *editor) insertInFlow(entry *yaml.Node, key string) bool {
	line := e.lines[entry.Line-1]
	at := byteOffset(line, entry.Column-1)
	brace := strings.IndexByte(line[at:], '{')
	if brace < 0 {
		return false
	}
	at += brace + 1
	separator := ", "
	if len(entry.Content) == 0 {
		separator = ""
	}
	e.lines[entry.Line-1] = line[:at] + "hostKey: " + key + separator + strings.TrimLeft(line[at:], " ")
	return true
}

// endOf is the last line that belongs to a block mapping: from its last value
// on, every line that is indented deeper than the keys, or is an item of a list
// at their depth. Blank lines and comments at the end belong to what follows.
func (e *editor) endOf(entry *yaml.Node) int {
	indent := indentOf(e.lines, entry.Content[0])
	start := entry.Content[len(entry.Content)-2].Line
	end := start
	for n := start + 1; n <= len(e.lines); n++ {
		bare := strings.TrimRight(e.lines[n-1], blanks)
		content := strings.TrimLeft(bare, " ")
		if content == "" || content[0] == '#' {
			continue
		}
		depth := len(bare) - len(content)
		if depth < indent || depth == indent && !strings.HasPrefix(content, "- ") {
			break
		}
		end = n
	}
	return end
}
