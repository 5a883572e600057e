package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/google/renameio/v2"
)

// installRecord is how far an install of a host has come, in
// .vps/installs/NAME.json until the host is ours. No private key is in it.
type installRecord struct {
	Run        string    `json:"run"`
	Phase      string    `json:"phase"`
	Output     string    `json:"output"`
	HostKey    string    `json:"hostKey"`    // public half of the new system's
	OldKey     string    `json:"oldKey"`     // host key of the system before, as it was verified
	InstallKey string    `json:"installKey"` // public half of the throw-away key
	User       string    `json:"user"`       // who the throw-away key logs in as
	Since      time.Time `json:"since"`
}

func (r *installRecord) phase() InstallerPhase {
	if r == nil {
		return InstallerPreparing
	}
	phase, _ := InstallerPhaseNamed(r.Phase)
	return phase
}

// RecordPath is where a project keeps the record of a host's install.
func RecordPath(dir string, h config.Host) string {
	return filepath.Join(dir, ".vps", "installs", config.FileNameOf(h.Name)+".json")
}

func (b *installation) recordPath() string { return RecordPath(b.p.Dir, b.host) }

// readInstall gives the record of an install that has not come to its end, nil
// if there is none.
func readInstall(path string) (*installRecord, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
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
// they decide what is wiped.
func parseInstall(data []byte) (*installRecord, error) {
	var r installRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if _, known := InstallerPhaseNamed(r.Phase); !known {
		return nil, fmt.Errorf("phase %q is none", r.Phase)
	}
	if fingerprint(r.HostKey) == "" {
		return nil, errors.New("it has no host key")
	}
	return &r, nil
}

// save writes the record before what it speaks of happens.
func (b *installation) save() error {
	path := b.recordPath()
	data, err := json.MarshalIndent(b.record, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Failed, Err: fmt.Errorf("remember the install: %w", err), Now: asItWas,
			Next: next.Say("make .vps/ writable, then run: %s", b.command())}
	}
	return nil
}

// forget removes the record: the host is ours, or as it was.
func (b *installation) forget() {
	_ = os.Remove(b.recordPath())
	b.record = nil
}

// lock keeps two bootstraps of one host from this project apart. The kernel ends
// it with the process, however that ends.
func (b *installation) lock() (unlock func(), err error) {
	path := strings.TrimSuffix(b.recordPath(), ".json") + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, usage(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, usage(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &Failure{Host: b.host.Name, Kind: Busy, Err: errors.New("another bootstrap of this host is running on this machine"),
			Now: "that one goes on", Next: next.Words("wait for it, or end it with Ctrl-C there")}
	}
	return func() {
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // a process that is just being started holds a copy of f
		_ = f.Close()
	}, nil
}
