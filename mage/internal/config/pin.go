package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"syscall"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/google/renameio/v2"
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
