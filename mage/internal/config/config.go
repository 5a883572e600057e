package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
)

// FileName is the name of the configuration file in a project's folder.
const FileName = "vps.yaml"

// Defaults for what neither the argument, vps.yaml nor ssh_config names.
const (
	DefaultPort   = 2222
	DefaultUser   = "root"
	DefaultNix    = "nix"
	DefaultEngine = "docker"
	// DefaultImage holds the Nix that runs the installer. It is pinned so that
	// an install next year is the install that was tested; nixos-anywhere's
	// flake needs Nix 2.30 or newer.
	DefaultImage = "nixos/nix:2.31.2"
)

// maxFileSize bounds vps.yaml, in bytes: one of a thousand hosts has 300 kB.
const maxFileSize = 1 << 20

// Config is a project's vps.yaml, or its defaults where there is none.
type Config struct {
	// Path is where vps.yaml is, or would be.
	Path string
	// Nix is the folder with flake.nix, in the project and with slashes; "." is the
	// project's own folder.
	Nix string
	// Hosts are in the order of the file.
	Hosts []HostEntry
	// Install says how bootstrap installs.
	Install Install
	// Signers is a file in the project, in the format of ssh-keygen's allowed
	// signers: update deploys only commits that one of them signed. "" asks for none.
	Signers string
}

// HostEntry is one host as vps.yaml declares it. A zero field is not declared.
type HostEntry struct {
	Name     string
	Address  string // name, IPv4 or IPv6 without brackets
	Port     int    // 1 to 65535
	User     string
	Identity string // path as written, ~ and tokens not expanded
	System   string // "x86" or "arm"
	Flake    string // name of a flake output
	Tags     []string
	HostKey  string // "type base64", without a comment
	AgeKey   string // "own" or "shared"
	Line     int    // of the name in the file, from 1
}

// Install is the install section of vps.yaml, with defaults filled in.
type Install struct {
	Image  string // container image that holds Nix
	Engine string // "docker" or "podman"
	// Network is the engine's network that containers join, for example "host";
	// empty for the engine's default.
	Network string
	Kexec   *Kexec // nil: the installer's own
	// Deadlines override how long a phase of the install may take, by phase.
	Deadlines map[string]time.Duration
	// DiskKeys are the names of the secrets that hold the keys of encrypted disks, by
	// the path at which disko reads them.
	DiskKeys map[string]string
}

// Kexec is a kexec image to boot in place of the installer's own.
type Kexec struct {
	URL    string // http or https
	SHA256 string // of the image, 64 hexadecimal digits, lower-case
}

// Default is the configuration of a project without a vps.yaml.
func Default() *Config {
	return &Config{Nix: DefaultNix, Install: Install{Image: DefaultImage, Engine: DefaultEngine}}
}

// Load reads dir/vps.yaml, where dir is the project's folder. A missing file is
// the default configuration. A file that is not understood gives every problem
// found, joined, each a [*ParseError].
func Load(dir string) (*Config, error) {
	path := filepath.Join(dir, FileName)
	data, err := readLimited(path)
	if errors.Is(err, fs.ErrNotExist) {
		return loadDefault(path)
	}
	if err != nil {
		return nil, &FileError{Path: path, Err: err}
	}
	cfg, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	cfg.Path = path
	return cfg, nil
}

// loadDefault refuses the near miss vps.yml: to ignore it silently would drop
// pinned host keys.
func loadDefault(path string) (*Config, error) {
	other := filepath.Join(filepath.Dir(path), "vps.yml")
	if _, err := os.Lstat(other); err == nil {
		return nil, &FileError{
			Path: other,
			Err:  fmt.Errorf("the file is called %s, not vps.yml", FileName),
			Next: next.Say("rename %s to %s", other, FileName),
		}
	}
	cfg := Default()
	cfg.Path = path
	return cfg, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file (%s)", info.Mode().Type())
	}
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// Lookup finds a host by its name in vps.yaml; nil when it is not listed.
func (c *Config) Lookup(name string) *HostEntry {
	for i := range c.Hosts {
		if c.Hosts[i].Name == name {
			return &c.Hosts[i]
		}
	}
	return nil
}

// Names lists the hosts of vps.yaml in its order.
func (c *Config) Names() []string {
	names := make([]string, 0, len(c.Hosts))
	for _, h := range c.Hosts {
		names = append(names, h.Name)
	}
	return names
}

// Tags lists every tag in use, in order of first use.
func (c *Config) Tags() []string {
	var tags []string
	for _, h := range c.Hosts {
		for _, t := range h.Tags {
			tags = appendNew(tags, t)
		}
	}
	return tags
}
