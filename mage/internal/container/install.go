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

// Install runs nixos-anywhere, from the nixpkgs that the tree's own flake.lock
// pins, against a server.
type Install struct {
	Job
	Flake   string // output of the tree's flake, for example vps-x86
	User    string // who may log in with the install key
	Address string // name or address of the server, as the container sees it
	Port    int    // SSH port now
	// KexecPort is the SSH port once the installer's own system runs on the
	// server; 0 for 22. With a forwarded port it is that of the forward.
	KexecPort  int
	BuildOn    string   // auto, local or remote; empty for auto
	SSHOptions []string // Name=value, without spaces: they reach nix copy unquoted
	Kexec      Kexec
}

// Kexec is another image of the installer's system; the zero value leaves the
// choice to nixos-anywhere, which checks no hash.
type Kexec struct {
	URL    string
	SHA256 string // hexadecimal, or as Nix writes it: sha256-…=
}

// keepAlive ends a connection that died in mid-step after about a minute;
// without it the installer waits for ever.
func keepAlive() []string {
	return []string{"ServerAliveInterval=15", "ServerAliveCountMax=4"}
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
	words := nixCommand("run", "--no-write-lock-file", "--inputs-from", "path:/work",
		"nixpkgs#nixos-anywhere", "--",
		"--flake", "path:/work#"+in.Flake,
		"--target-host", in.User+"@"+alias,
		"--ssh-port", strconv.Itoa(in.Port),
		"-i", "/key/id_ed25519")
	if in.KexecPort != 0 {
		words = append(words, "--post-kexec-ssh-port", strconv.Itoa(in.KexecPort))
	}
	for _, option := range append(keepAlive(), in.SSHOptions...) {
		words = append(words, "--ssh-option", option)
	}
	if in.BuildOn != "" {
		words = append(words, "--build-on", in.BuildOn)
	}
	return append(words, "--extra-files", "/extra-files")
}

var (
	flakeOutput = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_-]*$`)
	userName    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`)
	hostAddress = regexp.MustCompile(`^[a-zA-Z0-9:][a-zA-Z0-9:._-]*$`)
	sshOption   = regexp.MustCompile(`^[a-zA-Z]+=[^\s"'\\]+$`)
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
	for _, option := range in.SSHOptions {
		if !sshOption.MatchString(option) {
			return fmt.Errorf("install: %q is no ssh option of the form Name=value without spaces", option)
		}
	}
	if in.Port < 1 || in.Port > 65535 || in.KexecPort < 0 || in.KexecPort > 65535 {
		return fmt.Errorf("install: ports %d and %d: want 1 to 65535", in.Port, in.KexecPort)
	}
	switch in.BuildOn {
	case "", "auto", "local", "remote":
	default:
		return fmt.Errorf("install: build on %q: want auto, local or remote", in.BuildOn)
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
