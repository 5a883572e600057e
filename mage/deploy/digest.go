package deploy

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/dagadbm/vps/mage/internal/run"
)

// digestOf is the digest of what is in /etc/nixos, over the very bytes that the
// server listed, so that it can compare them again under its lock.
func digestOf(f run.Facts) string {
	sum := sha256.Sum256([]byte(f.Manifest))
	return hex.EncodeToString(sum[:])
}
