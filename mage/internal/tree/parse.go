package tree

import (
	"fmt"
	"io"
	"strings"
)

// Limits bounds what [ParseManifest] takes from a server. A field that is zero
// means the default.
type Limits struct {
	Bytes   int64 // of the whole text; 32 MiB
	Entries int   // lines; 100,000, what Collect allows too
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 32 << 20
	}
	if l.Entries <= 0 {
		l.Entries = maxEntries
	}
	return l
}

// ManifestError says why a text is not a manifest.
type ManifestError struct {
	Line   int    // counted from 1; 0 when the whole text is meant
	Path   string // the culprit, if it is a path
	Reason string
}

// Error names the line, the path and the reason.
func (e *ManifestError) Error() string {
	text := "the manifest is not usable"
	if e.Line > 0 {
		text = fmt.Sprintf("line %d of the manifest is not usable", e.Line)
	}
	if e.Path != "" {
		text += fmt.Sprintf(": %q", e.Path)
	}
	return text + ": " + e.Reason
}

// ParseManifest reads the canonical text of a manifest. It comes from a server
// and is not trusted: anything that [Manifest.Bytes] would not have written is
// a [*ManifestError], so what is accepted reads back as the same bytes.
func ParseManifest(r io.Reader, limits Limits) (Manifest, error) {
	limits = limits.withDefaults()
	data, err := io.ReadAll(io.LimitReader(r, limits.Bytes+1))
	if err != nil {
		return Manifest{}, fmt.Errorf("read the manifest: %w", err)
	}
	if int64(len(data)) > limits.Bytes {
		return Manifest{}, &ManifestError{Reason: fmt.Sprintf("it is longer than %d bytes", limits.Bytes)}
	}
	entries, err := parseLines(string(data), limits.Entries)
	if err != nil {
		return Manifest{}, err
	}
	m, path, reason := newManifest(entries)
	if reason != "" {
		return Manifest{}, &ManifestError{Path: path, Reason: reason}
	}
	return m, nil
}

func parseLines(text string, most int) ([]Entry, error) {
	var entries []Entry
	for number := 1; text != ""; number++ {
		line, rest, ended := strings.Cut(text, "\n")
		if !ended {
			return nil, &ManifestError{Line: number, Reason: "it has no end: the text was cut off"}
		}
		if number > most {
			return nil, &ManifestError{Line: number, Reason: fmt.Sprintf("there are more than %d lines", most)}
		}
		e, reason := parseLine(line)
		if reason == "" && len(entries) > 0 && e.Path <= entries[len(entries)-1].Path {
			reason = "the paths are not sorted, or one is there twice"
		}
		if reason != "" {
			return nil, &ManifestError{Line: number, Path: e.Path, Reason: reason}
		}
		entries = append(entries, e)
		text = rest
	}
	return entries, nil
}

// hashLen is the length of a hex SHA-256.
const hashLen = 64

// parseLine reads "T HASH PATH"; the reason is "" when it could.
func parseLine(line string) (e Entry, reason string) {
	const pathAt = 2 + hashLen + 1
	if len(line) <= pathAt || line[1] != ' ' || line[pathAt-1] != ' ' {
		return Entry{}, "it is not of the form TYPE HASH PATH"
	}
	e = Entry{Type: line[0], Hash: line[2 : pathAt-1], Path: line[pathAt:]}
	if e.Type != TypeFile && e.Type != TypeExecutable && e.Type != TypeLink {
		return e, fmt.Sprintf("the type %q is none of f, x and l", e.Type)
	}
	if strings.Trim(e.Hash, "0123456789abcdef") != "" {
		return e, fmt.Sprintf("%q is not a hash", e.Hash)
	}
	return e, checkPath(e.Path)
}
