package deploy

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/dagadbm/vps/mage/nixos"
)

// digestOf is the digest of what is in /etc/nixos, over the very bytes that the
// server listed, so that it can compare them again under its lock.
func digestOf(f nixos.Facts) string {
	sum := sha256.Sum256([]byte(f.Manifest))
	return hex.EncodeToString(sum[:])
}
