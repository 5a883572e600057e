package vpstest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"sort"
	"strings"

	"github.com/dagadbm/vps/mage/internal/run"
)

// Archive is what a client uploads to start a run: the request, the listing of
// the tree that is wanted, what of it is new, and the script that does the rest.
// It makes such archives for tests of the scripts themselves.
type Archive struct {
	Request    map[string]string // "id", "kind", "action", "base", "confirm", …
	Tree       map[string]string // the whole tree that is wanted, text by path
	Sent       map[string]string // the part of it that travels; nil means all
	Delete     []string          // paths of the server's tree that vanish
	Secrets    []string          // paths that must exist after the switch
	Supervisor []byte            // instead of [run.Supervisor]
}

// NewArchive is an update of s to tree, named id, with the deadlines (in seconds)
// that tests want. It replaces whatever is in /etc/nixos.
func (s *Server) NewArchive(id string, tree map[string]string) Archive {
	a := Archive{Tree: tree, Request: map[string]string{
		"id": id, "kind": "update", "action": "switch", "output": s.config.output,
		"base": s.TreeDigest(), "confirm": "30", "switchtimeout": "30",
		"who": "tester", "from": "laptop", "since": "2026-01-02T03:04:05Z",
		"commit": strings.Repeat("0", 40), "dirty": "",
	}}
	for path := range s.Files() {
		if _, wanted := tree[path]; !wanted {
			a.Delete = append(a.Delete, path)
		}
	}
	sort.Strings(a.Delete)
	return a
}

// Digest is the digest of the tree that is wanted.
func (a Archive) Digest() string { return hexHash(a.manifest()) }

func (a Archive) manifest() string {
	var b strings.Builder
	for _, path := range sortedKeys(a.Tree) {
		fmt.Fprintf(&b, "f %s %s\n", hexHash(a.Tree[path]), path)
	}
	return b.String()
}

// Bytes is the archive as one tar stream.
func (a Archive) Bytes() ([]byte, error) {
	supervisor := a.Supervisor
	if supervisor == nil {
		supervisor = run.Supervisor()
	}
	sent := a.Sent
	if sent == nil {
		sent = a.Tree
	}
	members := [][2]string{
		{"request", a.request()}, {"manifest", a.manifest()}, {"delete", deleteList(a.Delete)},
		{"secrets", lineList(a.Secrets)}, {"supervisor.sh", string(supervisor)},
	}
	for _, path := range sortedKeys(sent) {
		members = append(members, [2]string{"tree/" + path, sent[path]})
	}
	return tarOf(members)
}

// deleteList is as xargs -0 wants it.
func deleteList(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		b.WriteString("./" + path + "\x00")
	}
	return b.String()
}

func (a Archive) request() string {
	values := map[string]string{"digest": a.Digest()}
	for key, value := range a.Request {
		values[key] = value
	}
	var b strings.Builder
	for _, key := range sortedKeys(values) {
		fmt.Fprintf(&b, "%s=%s\n", key, values[key])
	}
	return b.String()
}

func tarOf(members [][2]string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		header := &tar.Header{Name: m[0], Mode: 0o644, Size: int64(len(m[1])), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("writing %q to the archive: %w", m[0], err)
		}
		if _, err := w.Write([]byte(m[1])); err != nil {
			return nil, fmt.Errorf("writing %q to the archive: %w", m[0], err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("ending the archive: %w", err)
	}
	return b.Bytes(), nil
}

func lineList(list []string) string {
	var b strings.Builder
	for _, line := range list {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
