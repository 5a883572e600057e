package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

const (
	maxIncludes = 16  // ssh's own limit of nesting
	maxFiles    = 512 // files in one answer
)

// fileReader answers a query from the files of ssh_config, where no ssh program
// does. Whatever it cannot decide is an error that names file and line.
type fileReader struct {
	r         *Resolver
	q         query
	s         settings
	files     int
	final     bool     // the pass that "Match final" asks for
	wantFinal bool     // a "Match final" was seen
	ignore    string   // IgnoreUnknown
	aliases   []string // plain names of Host lines
}

// lineAt is where in which file something is written.
type lineAt struct {
	file string
	line int
}

// place is what governs a line: how deep it is included, whether its file is a
// user's, whether what surrounds it matches at all.
type place struct {
	depth  int
	system bool // of the system's ssh_config: relative Includes are below /etc/ssh
	never  bool // included where nothing applies
}

// readFiles answers q as ssh would, in one pass, or two for "Match final".
func (r *Resolver) readFiles(q query) (settings, error) {
	f := &fileReader{r: r, q: q, s: sshDefaults(strings.ToLower(q.name), r.User)}
	if q.hostName != "" {
		f.s.hostName = setting[string]{q.hostName, true}
	}
	if q.user != "" {
		f.s.user = setting[string]{q.user, true}
	}
	if q.port != 0 {
		f.s.port = setting[int]{q.port, true}
	}
	err := f.pass()
	f.lowerHost()
	if err == nil && f.wantFinal {
		f.final = true
		err = f.pass()
	}
	if err != nil {
		return settings{}, err
	}
	f.s.proxyCommand.set = f.s.proxyCommand.value != ""
	f.s.hostKeyAlias.value = strings.ToLower(f.s.hostKeyAlias.value)
	return f.s, nil
}

// lowerHost makes a name lower-case, but leaves an address as it is written.
func (f *fileReader) lowerHost() {
	if !isAddress(f.s.hostName.value) {
		f.s.hostName.value = strings.ToLower(f.s.hostName.value)
	}
}

// pass reads the user's file, then the system's.
func (f *fileReader) pass() error {
	f.files = 0
	for i, path := range f.r.configFiles() {
		usual := f.r.SSHConfig == ""
		at := place{system: usual && i == 1}
		if usual && i == 0 {
			if err := f.checkMode(path); err != nil {
				return err
			}
		}
		err := f.read(path, at, true)
		if usual && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return f.wrap(path, err)
		}
	}
	return nil
}

// checkMode refuses a file that others may write, as ssh does.
func (f *fileReader) checkMode(path string) error {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o022 != 0 {
		return f.wrap(path, fmt.Errorf("others may write it (mode %04o)", info.Mode().Perm()))
	}
	return nil
}

func (f *fileReader) wrap(path string, err error) error {
	var known *SSHConfigError
	if errors.As(err, &known) {
		return err
	}
	return &SSHConfigError{Host: f.q.name, Problem: fmt.Sprintf("%s: %v", path, err), Err: err}
}

// fail reports a line that ssh refuses or that cannot be decided here.
func (f *fileReader) fail(at lineAt, format string, args ...any) error {
	return &SSHConfigError{
		Host:    f.q.name,
		Problem: fmt.Sprintf("%s:%d: ", at.file, at.line) + fmt.Sprintf(format, args...),
		Next:    next.Words("change that line, or install OpenSSH's ssh program, which is then asked instead"),
	}
}

// read applies one file. Whether a line applies is decided anew by each Host
// and Match, and an included file cannot change it for the file around it.
func (f *fileReader) read(path string, where place, active bool) error {
	if f.files++; f.files > maxFiles {
		return fmt.Errorf("more than %d files are included", maxFiles)
	}
	data, err := readLimited(path)
	if err != nil {
		return err
	}
	if len(data) > maxFileSize {
		return fmt.Errorf("larger than %d bytes", maxFileSize)
	}
	number := 0
	for text := range strings.Lines(string(data)) {
		number++
		at := lineAt{path, number}
		keyword, rest := splitKeyword(text)
		switch keyword {
		case "":
		case "host":
			active, err = f.host(at, rest)
		case "match":
			active, err = f.match(at, rest, where)
		case "include":
			err = f.include(at, rest, where, active)
		default:
			err = f.directive(at, keyword, rest, active)
		}
		if err != nil {
			return err
		}
		active = active && !where.never
	}
	return nil
}

// host decides whether a Host line applies: to the name that was asked for, in
// the final pass to what HostName made of it. A pattern that is negated and
// matches switches the whole line off.
func (f *fileReader) host(at lineAt, rest string) (bool, error) {
	patterns, err := f.words(at, "Host", rest)
	if err != nil {
		return false, err
	}
	active, name := false, f.q.name
	if f.final {
		name = f.s.hostName.value
	}
	for _, pattern := range patterns {
		bare, negated := strings.CutPrefix(pattern, "!")
		if !negated && !strings.ContainsAny(bare, "*?") {
			f.aliases = append(f.aliases, bare)
		}
		if !matchPattern(name, bare) {
			continue
		}
		if negated {
			return false, nil
		}
		active = true
	}
	return active, nil
}

// aliases lists the plain names of Host lines, for suggestions only: what
// cannot be read is left out.
func (r *Resolver) aliases() []string {
	f := &fileReader{r: r}
	for _, path := range r.configFiles() {
		_ = f.read(path, place{never: true}, false)
	}
	return f.aliases
}
