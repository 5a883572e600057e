package bootstrap

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/google/renameio/v2"
)

// installRecord is how far an install of a host has come, in
// .vps/installs/NAME.json until the host is installed. The private half of the
// install key lies beside it, in NAME.key, as long as the server may let it in.
type installRecord struct {
	Run        string                `json:"run"`
	Phase      string                `json:"phase"`
	Output     string                `json:"output"`
	Address    string                `json:"address"`         // of the server
	HostKey    string                `json:"hostKey"`         // public half of the new system's
	OldKeys    []string              `json:"oldKeys"`         // host keys of the systems before, as they were verified
	InstallKey string                `json:"installKey"`      // public half of the throw-away key
	User       string                `json:"user"`            // who the throw-away key logs in as
	Disks      map[string]run.Device `json:"disks,omitempty"` // what somebody agreed to erase
	Since      time.Time             `json:"since"`
}

func (r *installRecord) phase() InstallerPhase {
	if r == nil {
		return InstallerBuilding
	}
	phase, _ := InstallerPhaseNamed(r.Phase)
	return phase
}

// knows says whether a host key was verified for this server.
func (r *installRecord) knows(key string) bool { return r != nil && slices.Contains(r.OldKeys, key) }

// learn adds verified host keys.
func (r *installRecord) learn(keys ...string) {
	for _, key := range keys {
		if key = bare(key); fingerprint(key) != "" && !slices.Contains(r.OldKeys, key) {
			r.OldKeys = append(r.OldKeys, key)
		}
	}
}

// admission is who is let in for this install. Every run of a project leaves the same
// mark, so that the next one finds what a killed one left.
func (b *installation) admission(login string) run.Admission {
	return run.Admission{Login: login, Key: b.record.InstallKey, Mark: b.keyMark()}
}

// keyMark is in each line that is added to a server's authorized_keys.
func (b *installation) keyMark() string { return "vps-install-" + b.project }

// RecordPath is where a project keeps the record of a host's install.
func RecordPath(dir string, h config.Host) string {
	return filepath.Join(dir, ".vps", "installs", config.FileNameOf(h.Name)+".json")
}

func (b *installation) recordPath() string { return RecordPath(b.p.Dir, b.host) }

// beside is a file that belongs to the record.
func (b *installation) beside(ending string) string {
	return strings.TrimSuffix(b.recordPath(), ".json") + ending
}

// Unfinished tells of an install that has not come to its end.
type Unfinished struct {
	Phase InstallerPhase
	Since time.Time
}

// Look gives the unfinished install of a host, nil if there is none.
func Look(dir string, h config.Host) *Unfinished {
	r, err := readInstall(RecordPath(dir, h))
	if err != nil || r == nil || r.Address != "" && r.Address != h.Address {
		return nil
	}
	return &Unfinished{Phase: r.phase(), Since: r.Since}
}

// readInstall gives the record of an install that has not come to its end, nil
// if there is none.
func readInstall(path string) (*installRecord, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	// It says which host keys were verified, so that one that came with a repository
	// or an archive is not believed: those make files of other modes.
	if err == nil && (!info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0) {
		err = fmt.Errorf("others can read it (mode %#o): it is not from this machine", info.Mode().Perm())
	}
	var r *installRecord
	if err == nil {
		r, err = parseInstall(data)
	}
	if err != nil {
		return nil, fmt.Errorf("record of an earlier install %q: %w", path, err)
	}
	return r, nil
}

// parseInstall reads a record. The phase and the new host key must make sense:
// they decide what is erased.
func parseInstall(data []byte) (*installRecord, error) {
	var form struct {
		installRecord
		OldKey string `json:"oldKey"` // of an earlier version
	}
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, err
	}
	r := &form.installRecord
	r.OldKeys = slices.DeleteFunc(append(r.OldKeys, form.OldKey), func(key string) bool { return fingerprint(key) == "" })
	if _, known := InstallerPhaseNamed(r.Phase); !known {
		return nil, fmt.Errorf("%q is not the name of a phase", r.Phase)
	}
	if fingerprint(r.HostKey) == "" {
		return nil, errors.New("it has no host key")
	}
	return r, nil
}

// save writes the record before what it speaks of happens.
func (b *installation) save() error {
	path := b.recordPath()
	data, err := json.MarshalIndent(b.record, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(path, append(data, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(path)))
	}
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: fmt.Errorf("remember the install: %w", err), Now: asItWas,
			Next: next.Say("make .vps/ writable, then run: %s", b.command())}
	}
	return nil
}

// forget removes the record and the install key: the server is installed.
func (b *installation) forget() {
	_ = os.Remove(b.beside(".key"))
	_ = os.Remove(b.recordPath())
	b.record = nil
}

// keyFile gives the install key of an earlier run, or makes one. It stays until
// the install is over, readable by its owner only: after kexec it may be the one
// way back in.
func (b *installation) keyFile() (keyPair, error) {
	path := b.beside(".key")
	if data, err := os.ReadFile(path); err == nil {
		if key, err := parseKeyPair(data); err == nil {
			return key, nil
		}
	}
	key, err := newKeyPair("vps-install")
	if err != nil {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return key, err
	}
	return key, renameio.WriteFile(path, key.private, 0o600, renameio.WithTempDir(filepath.Dir(path)))
}

// hasKeyFile says whether an install key is kept.
func (b *installation) hasKeyFile() bool {
	_, err := os.Stat(b.beside(".key"))
	return err == nil
}

// projectID names this project, on this machine, as no other: by it engines and
// servers are told whose an install is.
func (b *installation) projectID() (string, error) {
	path := filepath.Join(b.p.Dir, ".vps", "id")
	data, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(data)); err == nil && projectForm(id) {
		return id, nil
	}
	id := strings.ToLower(rand.Text())[:16]
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return id, renameio.WriteFile(path, []byte(id+"\n"), 0o600, renameio.WithTempDir(filepath.Dir(path)))
}

func projectForm(id string) bool {
	return len(id) == 16 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// lock keeps two bootstraps of one host, or of one server under two names, apart,
// as far as they are made from this project. The kernel ends it with the process,
// however that ends.
func (b *installation) lock() (unlock func(), err error) {
	sum := sha256.Sum256([]byte(b.host.Endpoint() + jumpsOf(b.host)))
	first, err := b.lockFile(b.beside(".lock"), "another bootstrap of this host is running on this machine")
	if err != nil {
		return nil, err
	}
	second, err := b.lockFile(filepath.Join(filepath.Dir(b.recordPath()), "server-"+hex.EncodeToString(sum[:8])+".lock"),
		"another bootstrap of the server at "+b.host.Address+" is running on this machine, under another name")
	if err != nil {
		first()
		return nil, err
	}
	return func() { second(); first() }, nil
}

func jumpsOf(h config.Host) string {
	var text strings.Builder
	for _, jump := range h.Jumps {
		text.WriteString(" " + jump.Addr())
	}
	return text.String()
}

func (b *installation) lockFile(path, busy string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, usage(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, usage(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &Failure{Host: b.host.Name, Kind: Busy, Err: errors.New(busy),
			Now: "that one goes on", Next: next.Words("wait for it, or end it with Ctrl-C there")}
	}
	return func() {
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // a process that is just being started holds a copy of f
		_ = f.Close()
	}, nil
}
