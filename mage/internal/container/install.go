package container

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// alias is the name that the installer knows the server by. The ssh wrapper
// turns it into the address: an IPv6 address fits no installer's idea of a
// host name, and a forwarded port has no name of its own.
const alias = "server"

// Stage is a part of an install: between the two the disks are compared with those
// that somebody agreed to erase.
type Stage int

// The stages.
const (
	StageInstaller Stage = iota // starts the installer's system on the server, in memory
	StageSystem                 // formats the disks, installs and restarts; the installer runs there already
)

// Install runs one stage of nixos-anywhere, from the nixpkgs that the tree's own
// flake.lock pins, against a server.
type Install struct {
	Job
	Stage   Stage
	Flake   string // output of the tree's flake, for example vps-x86
	User    string // who may log in with the install key; StageSystem is root's
	Address string // name or address of the server, as the container sees it
	Port    int    // SSH port now
	// KexecPort is the SSH port once the installer's own system runs on the
	// server; 0 for 22. With a forwarded port it is that of the forward.
	KexecPort int
	// Built is what was built here before; empty when the server builds.
	Built Built
	Kexec Kexec
	// Mark is known by every process that the installer starts on the server.
	Mark string
	// DiskKeys are where disko finds the keys of encrypted disks; Payload.DiskKeys
	// has them, in the same order.
	DiskKeys []string
}

// Built are the paths of a system in the store.
type Built struct {
	Disko  string // the script that formats
	System string
}

// Kexec is another image of the installer's system; the zero value leaves the
// choice to nixos-anywhere, which checks no hash.
type Kexec struct {
	URL    string
	SHA256 string // hexadecimal, or as Nix writes it: sha256-…=
}

// Spec is the container that installs. archive comes from Archive.
func (in Install) Spec(archive []byte) (RunSpec, error) {
	if err := in.check(); err != nil {
		return RunSpec{}, err
	}
	var words []string
	if in.Kexec.URL != "" {
		words = append(words, in.Kexec.words()...)
	}
	words = append(words, "run")
	words = append(words, in.command()...)
	folders := []Tmpfs{private("/work"), private("/key"), private("/extra-files")}
	return in.spec(archive, folders, words...), nil
}

// command is the installer's command line inside the container.
func (in Install) command() []string {
	words := nixCommand("run", "--no-write-lock-file", "--inputs-from", "path:/work", "nixpkgs#nixos-anywhere", "--")
	if in.Built == (Built{}) || in.Stage == StageInstaller {
		words = append(words, "--flake", "path:/work#"+in.Flake)
	} else {
		words = append(words, "--store-paths", in.Built.Disko, in.Built.System)
	}
	words = append(words, "--target-host", in.user()+"@"+alias, "--ssh-port", strconv.Itoa(in.Port), "-i", "/key/id_ed25519")
	if in.Stage == StageInstaller {
		if in.KexecPort != 0 {
			words = append(words, "--post-kexec-ssh-port", strconv.Itoa(in.KexecPort))
		}
		// Nothing is built, so that nothing needs to be evaluated.
		return append(words, "--build-on", "local", "--no-use-machine-substituters", "--phases", "kexec")
	}
	for i, path := range in.DiskKeys {
		words = append(words, "--disk-encryption-keys", path, fmt.Sprintf("/key/disk-%d", i))
	}
	return append(words, "--build-on", in.buildOn(), "--phases", "disko,install,reboot", "--extra-files", "/extra-files")
}

// user is who logs in: the installer's system knows root only.
func (in Install) user() string {
	if in.Stage == StageSystem {
		return "root"
	}
	return in.User
}

func (in Install) buildOn() string {
	if in.Built == (Built{}) {
		return "remote"
	}
	return "local"
}

var (
	flakeOutput = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_-]*$`)
	userName    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`)
	hostAddress = regexp.MustCompile(`^[a-zA-Z0-9:][a-zA-Z0-9:._-]*$`)
	storePath   = regexp.MustCompile(`^/nix/store/[a-z0-9]{32}-[a-zA-Z0-9+._?=-]+$`)
	processMark = regexp.MustCompile(`^[a-zA-Z0-9@._/-]*$`)
	diskKey     = regexp.MustCompile(`^/[a-zA-Z0-9@._/-]+$`)
)

// check refuses what would mean something else to nixos-anywhere, ssh or Nix
// than to the person who wrote it.
func (in Install) check() error {
	for _, part := range []struct {
		name, value string
		want        *regexp.Regexp
	}{
		{"flake output", in.Flake, flakeOutput},
		{"user", in.User, userName},
		{"address", in.Address, hostAddress},
	} {
		if !part.want.MatchString(part.value) {
			return fmt.Errorf("install: %q cannot be used as %s", part.value, part.name)
		}
	}
	if !processMark.MatchString(in.Mark) {
		return fmt.Errorf("install: %q cannot be used as a mark", in.Mark)
	}
	if in.Built != (Built{}) && (!storePath.MatchString(in.Built.Disko) || !storePath.MatchString(in.Built.System)) {
		return fmt.Errorf("install: %q and %q are no paths in the store", in.Built.Disko, in.Built.System)
	}
	for _, path := range in.DiskKeys {
		if !diskKey.MatchString(path) {
			return fmt.Errorf("install: %q cannot be used as the path of a disk's key", path)
		}
	}
	if in.Port < 1 || in.Port > 65535 || in.KexecPort < 0 || in.KexecPort > 65535 {
		return fmt.Errorf("install: ports %d and %d: want 1 to 65535", in.Port, in.KexecPort)
	}
	return in.Kexec.check()
}

func (k Kexec) check() error {
	if k.URL == "" {
		return nil
	}
	address, err := url.Parse(k.URL)
	if err != nil || address.Scheme != "https" && address.Scheme != "http" || address.Host == "" {
		return fmt.Errorf("install: kexec image %q: want an https address", k.URL)
	}
	if k.sri() == "" {
		return fmt.Errorf("install: kexec image %q: %q is no SHA-256, in hexadecimal or as sha256-…=", k.URL, k.SHA256)
	}
	return nil
}

func (k Kexec) words() []string { return []string{"kexec", k.URL, k.sri(), k.fileName()} }

// fileName keeps the suffix, by which nixos-anywhere chooses how to unpack.
func (k Kexec) fileName() string {
	for _, suffix := range []string{".tar.xz", ".tar.zst", ".tar"} {
		if address, err := url.Parse(k.URL); err == nil && strings.HasSuffix(path.Base(address.Path), suffix) {
			return "kexec" + suffix
		}
	}
	return "kexec.tar.gz"
}

// sri is the hash as Nix writes it, or empty if it is none.
func (k Kexec) sri() string {
	if text, ok := strings.CutPrefix(k.SHA256, "sha256-"); ok {
		if sum, err := base64.StdEncoding.DecodeString(text); err == nil && len(sum) == 32 {
			return k.SHA256
		}
		return ""
	}
	sum, err := hex.DecodeString(k.SHA256)
	if err != nil || len(sum) != 32 {
		return ""
	}
	return "sha256-" + base64.StdEncoding.EncodeToString(sum)
}
