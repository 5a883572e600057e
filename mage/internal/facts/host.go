package facts

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dagadbm/vps/mage/secrets"
)

// Version is the version of the JSON form that this program writes and reads.
const Version = 1

// MaxSize is the most that the facts of one host may take, in bytes. Those of a
// host with a thousand secrets are below it.
const MaxSize = 256 << 10

// Host is what is known about one host: about one output of a flake, or about
// the system that a server built from it. Its JSON form is that of
// /etc/vps/facts.json, one object on one line.
//
// "", nil and a nil slice stand for unknown; an empty slice that is not nil says
// that there are none.
type Host struct {
	Output       string   `json:"output"`       // name in nixosConfigurations
	System       string   `json:"system"`       // such as "x86_64-linux"
	Release      string   `json:"release"`      // of NixOS, such as "26.05"
	StateVersion string   `json:"stateVersion"` // NixOS's system.stateVersion
	SSHPorts     []int    `json:"sshPorts"`     // TCP ports that sshd listens on, in the order of its configuration; empty: no sshd
	RootKeys     []string `json:"rootKeys"`     // lines of authorized_keys that the configuration gives root in plain text
	RootKeyFiles []string `json:"rootKeyFiles"` // other files that sshd reads keys of root from, as AuthorizedKeysFile has them; nil: or anything else
	Disks        []string `json:"disks"`        // devices that disko partitions or formats, sorted
	DiskKeys     []string `json:"diskKeys"`     // files that disko reads the keys of encrypted disks from
	Age          *Age     `json:"age"`          // what sops-nix decrypts with
	// Secrets are those that the configuration declares to sops-nix, sorted by Name.
	// Their File is a path of the tree, or absolute if it lies outside of it.
	Secrets []secrets.Declared `json:"secrets"`
}

// Age is where sops-nix looks for the keys that decrypt.
type Age struct {
	KeyFile     string   // absolute path on the server; "" if no key file is configured
	SSHKeyPaths []string // SSH host keys that serve as age keys; nil is unknown
}

// None says that sops-nix looks nowhere: it cannot decrypt anything.
func (a Age) None() bool { return a.KeyFile == "" && a.SSHKeyPaths != nil && len(a.SSHKeyPaths) == 0 }

// Files lists the sops files of the tree that the host's secrets lie in, sorted; nil is
// unknown.
func (h Host) Files() []string {
	if h.Secrets == nil {
		return nil
	}
	files := []string{}
	for _, s := range h.Secrets {
		if s.InTree() {
			files = append(files, s.File)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// SecretsIn lists the host's secrets that lie in one file of the tree.
func (h Host) SecretsIn(file string) []secrets.Declared {
	var found []secrets.Declared
	for _, s := range h.Secrets {
		if s.File == file {
			found = append(found, s)
		}
	}
	return found
}

// ageForm is the JSON form of Age: null for "no key file".
type ageForm struct {
	KeyFile     *string  `json:"keyFile"`
	SSHKeyPaths []string `json:"sshKeyPaths"`
}

// MarshalJSON gives the form in which Nix writes it.
func (a Age) MarshalJSON() ([]byte, error) {
	form := ageForm{SSHKeyPaths: a.SSHKeyPaths}
	if a.KeyFile != "" {
		form.KeyFile = &a.KeyFile
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads that form.
func (a *Age) UnmarshalJSON(data []byte) error {
	var form ageForm
	if err := json.Unmarshal(data, &form); err != nil {
		return err
	}
	*a = Age{SSHKeyPaths: form.SSHKeyPaths}
	if form.KeyFile != nil {
		a.KeyFile = *form.KeyFile
	}
	return nil
}

// MarshalJSON gives one line, the form that Parse reads.
func (h Host) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Version int `json:"version"`
		hostForm
	}{Version, hostForm(h)})
}

// hostForm is Host without its methods.
type hostForm Host

// Parse reads the facts of one host. They come from a server or from somebody's
// flake, so that nothing in them is trusted: they are bounded, of a known
// version, and each value is of the form that it has to have. What is null or
// missing is unknown; fields that this version does not know are ignored.
func Parse(data []byte) (Host, error) {
	if len(data) > MaxSize {
		return Host{}, fmt.Errorf("the facts take more than %d KiB", MaxSize>>10)
	}
	var form struct {
		Version int `json:"version"`
		hostForm
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&form); err != nil {
		return Host{}, fmt.Errorf("these are no facts of a host: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Host{}, errors.New("these are no facts of a host: something follows them")
	}
	if form.Version != Version {
		return Host{}, fmt.Errorf("the facts have version %d; this program knows version %d", form.Version, Version)
	}
	h := Host(form.hostForm)
	if err := h.validate(); err != nil {
		return Host{}, fmt.Errorf("the facts are not plausible: %w", err)
	}
	slices.Sort(h.Disks)
	slices.SortStableFunc(h.Secrets, func(a, b secrets.Declared) int { return cmp.Compare(a.Name, b.Name) })
	return h, nil
}

// The most of each that a real host may have.
const (
	maxText     = 4096
	maxKeyLine  = 8192 // the longest that sshd reads
	maxPorts    = 64
	maxPaths    = 256
	maxSecrets  = 4096
	maxRootKeys = 4096
)

var octalMode = regexp.MustCompile(`^[0-7]{1,5}$`)

func (h *Host) validate() error {
	for name, text := range map[string]string{
		"output": h.Output, "system": h.System, "release": h.Release, "stateVersion": h.StateVersion,
	} {
		if err := checkText(name, text); err != nil {
			return err
		}
	}
	if len(h.SSHPorts) > maxPorts || len(h.Disks) > maxPaths || len(h.Secrets) > maxSecrets {
		return errors.New("there are too many ports, disks or secrets")
	}
	for _, port := range h.SSHPorts {
		if port < 1 || port > 65535 {
			return fmt.Errorf("%d is not a port", port)
		}
	}
	for _, disk := range h.Disks {
		if err := checkAbsolute("disk", disk); err != nil {
			return err
		}
	}
	if err := h.validateRootKeys(); err != nil {
		return err
	}
	if len(h.DiskKeys) > maxPaths {
		return errors.New("there are too many keys of disks")
	}
	for _, path := range h.DiskKeys {
		if err := checkAbsolute("key of a disk", path); err != nil {
			return err
		}
	}
	if h.Age != nil {
		if err := h.Age.validate(); err != nil {
			return err
		}
	}
	for _, s := range h.Secrets {
		if err := validateSecret(s); err != nil {
			return fmt.Errorf("secret %q: %w", s.Name, err)
		}
	}
	return nil
}

// validateRootKeys does not ask that a line is a key: sshd ignores those that are not.
func (h *Host) validateRootKeys() error {
	if len(h.RootKeys) > maxRootKeys || len(h.RootKeyFiles) > maxPaths {
		return errors.New("there are too many login keys")
	}
	for _, line := range h.RootKeys {
		if err := checkBounded("login key", line, maxKeyLine); err != nil {
			return err
		}
	}
	for _, path := range h.RootKeyFiles { // may be relative to the home folder
		if err := checkText("file of login keys", path); err != nil {
			return err
		}
	}
	return nil
}

func (a Age) validate() error {
	if len(a.SSHKeyPaths) > maxPaths {
		return errors.New("there are too many SSH keys")
	}
	for _, path := range a.SSHKeyPaths {
		if err := checkAbsolute("SSH key", path); err != nil {
			return err
		}
	}
	if a.KeyFile == "" {
		return nil
	}
	return checkAbsolute("age key file", a.KeyFile)
}

func validateSecret(s secrets.Declared) error {
	for name, text := range map[string]string{
		"name": s.Name, "key": s.Key, "format": s.Format, "owner": s.Owner, "file": s.File,
	} {
		if err := checkText(name, text); err != nil {
			return err
		}
	}
	switch {
	case s.Name == "":
		return errors.New("it has no name")
	case s.InTree() && !fs.ValidPath(s.File):
		return fmt.Errorf("its file %q does not lie in the tree", s.File)
	case s.Mode != "" && !octalMode.MatchString(s.Mode):
		return fmt.Errorf("its mode %q is not octal", s.Mode)
	case s.Path == "":
		return nil
	}
	return checkAbsolute("path", s.Path)
}

func checkAbsolute(name, path string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("the %s %q is not an absolute path", name, path)
	}
	return checkText(name, path)
}

func checkText(name, text string) error { return checkBounded(name, text, maxText) }

func checkBounded(name, text string, limit int) error {
	if len(text) > limit || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("the %s is too long, or has control characters", name)
	}
	return nil
}
