package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// include reads the files that an Include names. Where it does not apply they
// are still read, for their errors and because a "Match final" counts anywhere.
func (f *fileReader) include(at lineAt, rest string, where place, active bool) error {
	patterns, err := f.words(at, "Include", rest)
	if err != nil {
		return err
	}
	inner := where
	inner.never = where.never || !active
	if inner.depth++; inner.depth > maxIncludes {
		return f.fail(at, "Include is nested more than %d deep", maxIncludes)
	}
	for _, pattern := range patterns {
		paths, err := f.included(at, pattern, where)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := f.read(path, inner, active); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return f.wrap(fmt.Sprintf("%s:%d: Include %s", at.file, at.line, path), err)
			}
		}
	}
	return nil
}

// included lists the files of one pattern in order. A name that begins with a
// dot must be asked for with a dot, as for every Unix program.
func (f *fileReader) included(at lineAt, pattern string, where place) ([]string, error) {
	if strings.ContainsAny(pattern, "%$") {
		return nil, f.fail(at, "Include %q: tokens and variables are not understood without an ssh program", pattern)
	}
	path, err := expander{home: f.r.Home, homeOf: homeOf}.tilde(pattern)
	if err != nil {
		return nil, f.fail(at, "Include %q: %v", pattern, err)
	}
	if !filepath.IsAbs(path) {
		base := filepath.Join(f.r.Home, ".ssh")
		if where.system {
			base = filepath.Dir(f.r.SystemSSHConfig)
		}
		path = filepath.Join(base, path)
	}
	paths, err := filepath.Glob(path)
	if err != nil {
		return nil, f.fail(at, "Include %q: %v", pattern, err)
	}
	return slices.DeleteFunc(paths, func(found string) bool { return hiddenFrom(path, found) }), nil
}

// hiddenFrom reports a path with a dot name where the pattern has none.
func hiddenFrom(pattern, path string) bool {
	patterns, parts := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i := range min(len(patterns), len(parts)) {
		if strings.HasPrefix(parts[i], ".") && !strings.HasPrefix(patterns[i], ".") {
			return true
		}
	}
	return false
}
