package remote

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// ErrNoKnownHosts is wrapped where a host key is to be recorded and ssh_config
// says that there is no file for it (UserKnownHostsFile none).
var ErrNoKnownHosts = errors.New("no known_hosts file is in use")

// RecordHostKeys adds keys of t, written as in authorized_keys, to its first
// known_hosts file, unless they are known for it there, or this Dialer forgets host
// keys. The caller has verified them: over a login that was bound to a known key,
// say.
func (d *Dialer) RecordHostKeys(t Target, keys ...string) error {
	if d.ForgetHostKeys {
		return nil
	}
	hosts, err := d.knownHosts(t)
	if err != nil {
		return err
	}
	known, _ := hosts.keysOf(t.lookup())
	for _, line := range keys {
		key, err := parsePinned(line)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(known, func(l hostLine) bool { return sameKey(l.key, key) }) {
			continue
		}
		if err := d.record(t, key); err != nil {
			return err
		}
	}
	return nil
}

// ReplaceHostKeys makes keys the only plain ones that t's first known_hosts file
// has for t, at its own port and at those in also. The file before is kept beside
// it as .old, as ssh-keygen does. It returns the file.
func (d *Dialer) ReplaceHostKeys(t Target, also []int, keys ...string) (file string, err error) {
	if file, err = d.recordFile(t); err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, line := range keys {
		key, err := parsePinned(line)
		if err != nil {
			return file, err
		}
		lines.WriteString(d.hostLine(t, key))
	}
	names := []string{t.lookup()}
	for _, port := range also {
		t.Port = port
		names = append(names, t.lookup())
	}
	return file, replaceHostLines(file, slices.Compact(names), lines.String())
}

// record appends an accepted host key to the first of t's known_hosts files.
func (d *Dialer) record(t Target, key ssh.PublicKey) error {
	file, err := d.recordFile(t)
	if errors.Is(err, ErrNoKnownHosts) {
		return nil
	}
	return appendLine(file, d.hostLine(t, key))
}

// recordFile is where host keys of t are written down.
func (d *Dialer) recordFile(t Target) (string, error) {
	files := d.userKnownHosts(t)
	if len(files) == 0 || files[0] == os.DevNull {
		return "", fmt.Errorf("recording the host key of %s: %w", t.name(), ErrNoKnownHosts)
	}
	return files[0], nil
}

func (d *Dialer) hostLine(t Target, key ssh.PublicKey) string {
	name := t.lookup()
	if t.Options.HashKnownHosts {
		name = xknownhosts.HashHostname(name)
	}
	return fmt.Sprintf("%s %s %s\n", name, key.Type(), base64.StdEncoding.EncodeToString(key.Marshal()))
}

// replaceHostLines takes names out of a known_hosts file and adds lines, unless
// that would change nothing. What a symbolic link leads to is replaced, in one
// step, with its mode kept.
func replaceHostLines(file string, names []string, lines string) error {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	after := append(withoutNames(before, names), lines...)
	if bytes.Equal(before, after) {
		return nil
	}
	if len(before) > 0 {
		if err := renameio.WriteFile(file+".old", before, mode); err != nil {
			return err
		}
	}
	return renameio.WriteFile(file, after, mode)
}

// withoutNames drops the names from every line that is a plain key of theirs. A
// line that loses its last name goes; marked lines and patterns stay.
func withoutNames(text []byte, names []string) []byte {
	isNamed := func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return strings.EqualFold(pattern, name) || isHashOf(pattern, name)
		})
	}
	var out bytes.Buffer
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		patterns, rest, ok := strings.Cut(strings.TrimLeft(line, " \t"), " ")
		if !ok || strings.HasPrefix(patterns, "#") || strings.HasPrefix(patterns, "@") {
			out.WriteString(line)
			continue
		}
		all := strings.Split(patterns, ",")
		if !slices.ContainsFunc(all, isNamed) {
			out.WriteString(line)
			continue
		}
		// An empty pattern names nobody, and alone it would make a key the name.
		kept := slices.DeleteFunc(all, func(p string) bool { return p == "" || isNamed(p) })
		if len(kept) > 0 {
			out.WriteString(strings.Join(kept, ",") + " " + rest)
		}
	}
	return out.Bytes()
}

// appendLine adds line to file in one write, so that several programs may do so at
// once. The file and its folder are made when missing, private to the user; a last
// line without its newline is ended first.
func appendLine(file, line string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	unended, err := lacksNewline(f)
	if unended {
		line = "\n" + line
	}
	if err == nil {
		_, err = io.WriteString(f, line)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func lacksNewline(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n', err
}
