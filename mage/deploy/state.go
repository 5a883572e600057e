package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/google/renameio/v2"
)

// hostState is what this laptop remembers of a host between runs, in
// .vps/hosts/NAME.json. Losing it costs a convenience, never safety.
type hostState struct {
	Port int `json:"port"` // where it answered last
}

func (p *Project) statePath(h config.Host) string {
	return filepath.Join(p.Dir, ".vps", "hosts", config.FileNameOf(h.Name)+".json")
}

func (p *Project) loadState(h config.Host) hostState {
	var s hostState
	if data, err := os.ReadFile(p.statePath(h)); err == nil {
		_ = json.Unmarshal(data, &s)
	}
	return s
}

// rememberPort notes where a host answered. Failing to is no failure.
func (p *Project) rememberPort(h config.Host, port int) {
	if p.loadState(h).Port == port {
		return
	}
	data, err := json.Marshal(hostState{Port: port})
	if err != nil || os.MkdirAll(filepath.Dir(p.statePath(h)), 0o700) != nil {
		return
	}
	_ = renameio.WriteFile(p.statePath(h), append(data, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(p.statePath(h))))
}
