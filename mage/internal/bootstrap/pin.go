package bootstrap

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- known_hosts hashes names with it
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh/knownhosts"
)

// pin writes the new host key down, where every later connection looks it up:
// in vps.yaml, or, for a host that is not listed there, in known_hosts. It
// returns the place.
func (b *installation) pin(h config.Host) (string, error) {
	if h.Listed {
		return b.p.Config.Path, config.PinHostKey(b.p.Config.Path, h.Name, h.HostKey)
	}
	file, err := b.knownHostsFile(h)
	if err != nil {
		return "", err
	}
	if err := replaceKnownHost(file, b.knownNames(h), h.HostKey); err != nil {
		return file, fmt.Errorf("write the host key: %w", err)
	}
	return file, nil
}

func (b *installation) knownHostsFile(h config.Host) (string, error) {
	for _, file := range h.KnownHosts {
		if file != "none" && file != os.DevNull {
			return file, nil
		}
	}
	home := b.dialer.Home
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return "", err
		}
	}
	return filepath.Join(home, ".ssh", "known_hosts"), nil
}

// knownNames are the names under which known_hosts may know the host, that of
// the new key first.
func (b *installation) knownNames(h config.Host) []string {
	if h.HostKeyAlias != "" {
		return []string{h.HostKeyAlias}
	}
	var names []string
	for _, port := range []int{h.Port, b.firstPort()} {
		names = append(names, knownhosts.Normalize(net.JoinHostPort(strings.ToLower(h.Address), strconv.Itoa(port))))
	}
	return slices.Compact(names)
}

// replaceKnownHost removes names from a known_hosts file and adds a line with the
// key for the first of them. The file before is kept as .old, as ssh-keygen does.
func replaceKnownHost(file string, names []string, key string) error {
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
	after := append(withoutNames(before, names), []byte(names[0]+" "+bare(key)+"\n")...)
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
		if !slices.ContainsFunc(all, func(p string) bool { return isNamed(p, names) }) {
			out.WriteString(line)
			continue
		}
		// An empty pattern names nobody, and alone it would make a key the name.
		kept := slices.DeleteFunc(all, func(p string) bool { return p == "" || isNamed(p, names) })
		if len(kept) > 0 {
			out.WriteString(strings.Join(kept, ",") + " " + rest)
		}
	}
	return out.Bytes()
}

// isNamed says whether a pattern of known_hosts, plain or hashed, is one of names.
func isNamed(pattern string, names []string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return slices.Contains(names, strings.ToLower(pattern))
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	return slices.ContainsFunc(names, func(name string) bool {
		mac := hmac.New(sha1.New, salt)
		_, _ = mac.Write([]byte(name)) // never fails
		return base64.StdEncoding.EncodeToString(mac.Sum(nil)) == parts[3]
	})
}
