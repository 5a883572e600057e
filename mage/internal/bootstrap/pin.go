package bootstrap

import (
	"fmt"

	"github.com/dagadbm/vps/mage/internal/config"
)

// pin writes the new host key down, where every later connection looks it up:
// in vps.yaml, or, for a host that is not listed there, in known_hosts. It
// returns the place.
func (b *installation) pin(h config.Host) (string, error) {
	if h.Listed {
		return b.p.Config.Path, config.PinHostKey(b.p.Config.Path, h.Name, h.HostKey)
	}
	file, err := b.dialer.ReplaceHostKeys(h.Target, []int{b.firstPort()}, h.HostKey)
	if err != nil {
		return file, fmt.Errorf("write the host key: %w", err)
	}
	return file, nil
}
